#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "artifact/manifest.h"
#include "artifact/tensor_view.h"

namespace zoo {

// What golden.safetensors holds of one output.
struct GoldenOutput {
  TensorView oracle;                    // oracle/<name>, F64: (rows, ...), or (rows, positions)
  std::optional<TensorView> positions;  // positions/<name>, I64: ascending, within one sample
  std::optional<TensorView> e_eager;    // e_eager/<name>, F64: (rows, groups, 2), none below 0
};

// The tensors of golden.safetensors, with one row for each entry of parity.samples.
struct GoldenViews {
  TensorView input;                   // inputs/<name>, F32 or U8
  std::vector<GoldenOutput> outputs;  // as the manifest's
};

// Fails with exit code 3 where the file is not sound, holds other tensors than the manifest says,
// or values that these may not hold.
[[nodiscard]] GoldenViews find_golden(std::span<const std::byte> bytes, const Manifest& manifest);

}  // namespace zoo
