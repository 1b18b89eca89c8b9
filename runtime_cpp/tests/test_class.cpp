#include "test_class.h"

#include <ATen/ATen.h>
#include <torch/library.h>

namespace zoo::testing {

at::Tensor apply(const Weights& weights, const at::Tensor& x) {
  return x.flatten(1).matmul(weights.tensor);
}

}  // namespace zoo::testing

// Without this library torch cannot even read a file that holds such an object.
TORCH_LIBRARY(zoo_test_class, library) {
  using zoo::testing::Weights;
  library.class_<Weights>("Weights").def_pickle(
      [](const c10::intrusive_ptr<Weights>& self) { return self->tensor; },
      [](const at::Tensor& state) { return c10::make_intrusive<Weights>(state); });
}
