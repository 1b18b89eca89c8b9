#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "artifact/manifest.h"
#include "artifact/sealed_file.h"
#include "artifact/tensor_view.h"

namespace zoo {

struct Golden {
  at::Tensor input;   // (N, C, H, W) float32 or (N, H, W, C) uint8, N the entries of parity.samples
  at::Tensor oracle;  // (N, ...) float64, as the manifest's output
};

// golden.safetensors of a verified artifact; its values must be finite.
[[nodiscard]] Golden read_golden(const SealedFile& file, const Manifest& manifest);

// The one tensor of a .npy or .safetensors file, by the path's suffix. The file is copied first,
// and nothing in it is believed. Fails with exit code 3.
[[nodiscard]] at::Tensor read_tensor_file(const std::string& path);

// Every program's input: (N, C, H, W) float32 and finite or (N, H, W, C) uint8, as the
// manifest says. Compiled programs do not check it themselves: they would read what lies behind a
// tensor that is too small.
void validate_input(const at::Tensor& input, const Manifest& manifest, const std::string& name,
                    bool allow_nonfinite);

// Every program's output: float32, (rows, ...) as the manifest says.
void validate_output(const at::Tensor& output, int64_t rows, const Manifest& manifest,
                     const std::string& file);

// The bytes of a file that holds a contiguous float32 tensor on cpu: .npy or .safetensors, by the
// path's suffix. In the latter it is called `name`.
[[nodiscard]] std::string tensor_file_bytes(const at::Tensor& tensor, const std::string& name,
                                            const std::string& path);

}  // namespace zoo
