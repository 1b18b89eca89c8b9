#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "artifact/manifest.h"
#include "artifact/sealed_file.h"

namespace zoo {

struct Golden {
  at::Tensor input;   // (N, C, H, W) float32 or (N, H, W, C) uint8, N the entries of parity.samples
  at::Tensor oracle;  // (N, classes) float64
};

// golden.pt of a verified artifact.
[[nodiscard]] Golden read_golden(const SealedFile& file, const Manifest& manifest);

// A plain tensor that torch.save wrote. The file is copied and scanned like those of an artifact,
// and read by a parser that makes tensors and runs no code.
[[nodiscard]] at::Tensor read_tensor_file(const std::string& path);

// Every program's input: contiguous, (N, C, H, W) float32 and finite or (N, H, W, C) uint8, as the
// manifest says. Compiled programs do not check it themselves: they would read what lies behind a
// tensor that is too small.
void validate_input(const at::Tensor& input, const Manifest& manifest, const std::string& name,
                    bool allow_nonfinite);

// Every program's output: float32, (rows, classes).
void validate_output(const at::Tensor& output, int64_t rows, const Manifest& manifest,
                     const std::string& file);

// The bytes of a file that torch.load(weights_only=True) reads as a tensor.
[[nodiscard]] std::vector<char> tensor_file_bytes(const at::Tensor& tensor);

}  // namespace zoo
