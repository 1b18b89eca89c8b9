#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "artifact/golden.h"
#include "artifact/manifest.h"
#include "artifact/sealed_file.h"

namespace zoo {

// golden.safetensors of a verified artifact.
class Golden {
 public:
  Golden(const SealedFile& file, const Manifest& manifest);

  // (N, C, H, W) float32 or (N, H, W, C) uint8, N the golden rows
  at::Tensor input;
  // One for each output of the manifest. They lie in the mapped file, which may be large.
  [[nodiscard]] const std::vector<GoldenOutput>& outputs() const { return views_.outputs; }

 private:
  SealedView file_;
  GoldenViews views_;
};

// The one tensor of a .npy or .safetensors file, by the path's suffix. The file is copied first,
// and nothing in it is believed. Fails with exit code 3.
[[nodiscard]] at::Tensor read_tensor_file(const std::string& path);

// Writes an input of the program in a .npy or .safetensors file, by the path's suffix.
void write_input_file(const std::string& path, const at::Tensor& input, const Manifest& manifest);

// Every program's input: (N, C, H, W) float32 and finite or (N, H, W, C) uint8, as the
// manifest says. Compiled programs do not check it themselves: they would read what lies behind a
// tensor that is too small.
void validate_input(const at::Tensor& input, const Manifest& manifest, const std::string& name,
                    bool allow_nonfinite);

// What every program returns: as many tensors as the manifest has outputs, each float32 and
// (rows, ...) as it says. Fails with exit code 3.
void validate_outputs(const std::vector<at::Tensor>& outputs, int64_t rows,
                      const Manifest& manifest, const std::string& file);

// Fails with exit code 2 where the path's suffix is that of a file that cannot hold all outputs.
void check_output_kind(const std::string& path, const Manifest& manifest);

// Writes contiguous float32 tensors on cpu, one for each output, in a .npy or .safetensors file, by
// the path's suffix. In the latter they have the outputs' names.
void write_tensor_file(const std::string& path, const std::vector<at::Tensor>& tensors,
                       const Manifest& manifest);

}  // namespace zoo
