#pragma once

#include <cstddef>
#include <span>

#include "artifact/manifest.h"
#include "artifact/tensor_view.h"

namespace zoo {

// The tensors of golden.safetensors, with one row for each entry of parity.samples.
struct GoldenViews {
  TensorView input;   // inputs/<name>, F32 or U8
  TensorView oracle;  // oracle/<name>, F64
};

// Fails with exit code 3 where the file is not sound, holds other tensors than the manifest says,
// or a value that is NaN or Inf.
[[nodiscard]] GoldenViews find_golden(std::span<const std::byte> bytes, const Manifest& manifest);

}  // namespace zoo
