#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

namespace zoo::testing {

// A class that a program may hold an object of, as those of TensorRT hold their engine.
struct Weights final : torch::CustomClassHolder {
  explicit Weights(at::Tensor given) : tensor(std::move(given)) {}
  at::Tensor tensor;
};

// Defined in the library that registers the class.
[[nodiscard]] at::Tensor apply(const Weights& weights, const at::Tensor& x);

}  // namespace zoo::testing
