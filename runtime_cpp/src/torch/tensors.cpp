#include "torch/tensors.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <span>

#include "artifact/npy.h"
#include "artifact/safetensors.h"
#include "artifact/tensor_view.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "machine/machine.h"
#include "torch/torch_errors.h"

namespace zoo {

namespace {

struct Row {
  at::ScalarType type;
  const char* dtype;  // in a file
  const char* name;   // for people
};
constexpr std::array kTypes = {Row{at::kFloat, "F32", "float32"},
                               Row{at::kDouble, "F64", "float64"}, Row{at::kByte, "U8", "uint8"}};

std::string type_name(at::ScalarType type) {
  for (const Row& row : kTypes) {
    if (row.type == type) return row.name;
  }
  return c10::toString(type);
}

std::vector<int64_t> shape_of(const at::Tensor& tensor) { return tensor.sizes().vec(); }

std::string describe_tensor(const at::Tensor& tensor) {
  return describe(type_name(tensor.scalar_type()), shape_of(tensor));
}

// A tensor of its own with the file's values, whose bytes may lie unaligned there.
at::Tensor copy_of(const TensorView& view, const std::string& file) {
  for (const Row& row : kTypes) {
    if (view.dtype != row.dtype) continue;
    const at::Tensor tensor = at::empty(view.shape, row.type);
    if (!view.bytes.empty()) {
      std::memcpy(tensor.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
    }
    return tensor;
  }
  fail_artifact(file + ": holds " + describe(view.dtype, view.shape) +
                "; it must hold float32, float64 or uint8");
}

TensorView only_tensor(std::span<const std::byte> bytes, const std::string& path) {
  if (path.ends_with(".npy")) return parse_npy(bytes, path);
  const std::vector<TensorView> tensors = parse_safetensors(bytes, path);
  if (tensors.size() == 1) return tensors.front();
  fail_artifact(path + ": holds " + std::to_string(tensors.size()) + " tensors; it must hold one");
}

// A contiguous float32 or uint8 tensor on cpu, which must live as long as the view.
TensorView view_of(const at::Tensor& tensor, const std::string& name) {
  const auto* start = static_cast<const std::byte*>(tensor.const_data_ptr());
  const char* dtype = tensor.scalar_type() == at::kByte ? "U8" : "F32";
  return {name, dtype, shape_of(tensor), {start, tensor.nbytes()}};
}

void write_views(const std::string& path, const std::vector<TensorView>& views) {
  const std::string header =
      path.ends_with(".npy") ? npy_header(views.front()) : safetensors_header(views);
  std::vector<std::string_view> pieces = {header};
  for (const TensorView& view : views) {
    pieces.emplace_back(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size());
  }
  write_atomically(path, pieces);
}

std::string describe_wanted(const Manifest& manifest) {
  std::string text = manifest.input.bytes ? "uint8 [N" : "float32 [N";
  for (const int64_t size : manifest.input.shape) text += ", " + std::to_string(size);
  return text + "]";
}

std::string remedy(const Manifest& manifest) {
  return manifest.input.bytes ? "; give uint8 (N, H, W, C), 0 to 255, not normalised"
                              : "; give float32 (N, C, H, W), normalised";
}

}  // namespace

Golden::Golden(const SealedFile& file, const Manifest& manifest)
    : file_(file), views_(find_golden(file_.bytes(), manifest)) {
  input = copy_of(views_.input, kGoldenFile);
}

at::Tensor read_tensor_file(const std::string& path) {
  const SealedFile file = seal(open_regular(path), path, available_memory_bytes());
  const SealedView view(file);
  return with_torch_errors(path + ": cannot be read",
                           [&] { return copy_of(only_tensor(view.bytes(), path), path); });
}

void validate_input(const at::Tensor& input, const Manifest& manifest, const std::string& name,
                    bool allow_nonfinite) {
  const at::ScalarType type = manifest.input.bytes ? at::kByte : at::kFloat;
  const bool shape_fits = input.dim() == 4 && input.sizes().slice(1) == manifest.input.shape;
  if (input.scalar_type() != type || !shape_fits) {
    fail_artifact(name + ": is " + describe_tensor(input) + ", the program takes " +
                  describe_wanted(manifest) + remedy(manifest));
  }
  if (input.size(0) == 0) {
    fail_artifact(name + ": has no rows, the program takes " + describe_wanted(manifest) +
                  " with N of at least 1; give it a row");
  }
  if (!manifest.input.bytes && !allow_nonfinite && !at::isfinite(input).all().item<bool>()) {
    fail_artifact(name + ": holds NaN or Inf, the program takes finite values; clean it, or pass " +
                  "--allow-nonfinite");
  }
}

void validate_outputs(const std::vector<at::Tensor>& outputs, int64_t rows,
                      const Manifest& manifest, const std::string& file) {
  const std::vector<Output>& wanted = manifest.outputs;
  if (outputs.size() != wanted.size()) {
    fail_artifact(file + ": the program returned " + std::to_string(outputs.size()) +
                  " tensors, the manifest says " + std::to_string(wanted.size()) +
                  "; rebuild the artifact");
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::vector<int64_t> shape = with_rows(rows, wanted[i].shape);
    if (outputs[i].scalar_type() == at::kFloat && outputs[i].sizes() == shape) continue;
    fail_artifact(file + ": the program returned " + describe_tensor(outputs[i]) + " as '" +
                  wanted[i].name + "', the manifest says " + describe("float32", shape) +
                  "; rebuild the artifact");
  }
}

void check_output_kind(const std::string& path, const Manifest& manifest) {
  const size_t count = manifest.outputs.size();
  if (count == 1 || !path.ends_with(".npy")) return;
  throw RunnerError(ExitCode::kUsage, "--output " + path + ": the program has " +
                                          std::to_string(count) +
                                          " outputs and .npy holds one; name a .safetensors file");
}

void write_input_file(const std::string& path, const at::Tensor& input, const Manifest& manifest) {
  write_views(path, {view_of(input, manifest.input.name)});
}

void write_tensor_file(const std::string& path, const std::vector<at::Tensor>& tensors,
                       const Manifest& manifest) {
  std::vector<TensorView> views;
  for (size_t i = 0; i < tensors.size(); ++i) {
    views.push_back(view_of(tensors[i], manifest.outputs[i].name));
  }
  write_views(path, views);
}

}  // namespace zoo
