#include "torch/tensors.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <cmath>
#include <span>

#include "artifact/zip_scan.h"
#include "base/error.h"
#include "base/paths.h"
#include "machine/machine.h"
#include "torch/torch_errors.h"

namespace zoo {

namespace {

c10::IValue load_value(const SealedFile& file, const std::string& name) {
  const SealedView view(file);
  const auto* start = reinterpret_cast<const char*>(view.bytes().data());
  const std::vector<char> bytes(start, start + view.bytes().size());
  return with_torch_errors(name + ": cannot be read as a torch.save'd tensor",
                           [&] { return torch::jit::pickle_load(bytes); });
}

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kByte:
      return "uint8";
    default:
      return c10::toString(dtype);
  }
}

std::string describe_shape(const std::vector<std::string>& extents) {
  std::string text;
  for (const std::string& extent : extents) text += (text.empty() ? "[" : ", ") + extent;
  return text.empty() ? "[]" : text + "]";
}

std::string describe(const at::Tensor& tensor) {
  std::vector<std::string> extents;
  for (const int64_t size : tensor.sizes()) extents.push_back(std::to_string(size));
  return dtype_name(tensor.scalar_type()) + " " + describe_shape(extents);
}

at::ScalarType input_dtype(const Manifest& manifest) {
  return manifest.byte_input ? at::kByte : at::kFloat;
}

std::string describe_wanted(const Manifest& manifest) {
  std::vector<std::string> extents = {"N"};
  for (const int64_t size : manifest.sample_shape) extents.push_back(std::to_string(size));
  return dtype_name(input_dtype(manifest)) + " " + describe_shape(extents);
}

std::string remedy(const Manifest& manifest) {
  return manifest.byte_input ? "; give uint8 (N, H, W, C), 0 to 255, not normalised"
                             : "; give float32 (N, C, H, W), normalised";
}

void require_plain(const at::Tensor& tensor, const std::string& name) {
  if (!tensor.defined() || tensor.layout() != at::kStrided || !tensor.device().is_cpu() ||
      tensor.is_quantized() || tensor.is_conj() || tensor.is_neg()) {
    fail_artifact(name + ": is not a dense tensor on cpu; save it with torch.save(x.cpu(), ...)");
  }
}

bool all_finite(const at::Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

at::Tensor golden_tensor(const c10::IValue& value, const char* key) {
  if (!value.isGenericDict()) fail_artifact("golden.pt: must hold a dict of two tensors");
  for (const auto& item : value.toGenericDict()) {
    if (!item.key().isString() || item.key().toStringRef() != key) continue;
    if (!item.value().isTensor()) break;
    require_plain(item.value().toTensor(), std::string("golden.pt: ") + key);
    return item.value().toTensor().detach();
  }
  fail_artifact(std::string("golden.pt: holds no tensor '") + key + "'");
}

}  // namespace

Golden read_golden(const SealedFile& file, const Manifest& manifest) {
  const c10::IValue value = load_value(file, kGoldenFile);
  const Golden golden{golden_tensor(value, "input"), golden_tensor(value, "oracle")};
  validate_input(golden.input, manifest, "golden.pt: input", false);
  const auto rows = static_cast<int64_t>(manifest.parity.samples.size());
  if (golden.input.size(0) != rows) {
    fail_artifact("golden.pt: input has " + std::to_string(golden.input.size(0)) +
                  " rows, parity.samples has " + std::to_string(rows));
  }
  const std::vector<int64_t> wanted = {rows, manifest.num_classes};
  if (golden.oracle.scalar_type() != at::kDouble || golden.oracle.sizes() != wanted ||
      !golden.oracle.is_contiguous() || !all_finite(golden.oracle)) {
    fail_artifact("golden.pt: oracle is " + describe(golden.oracle) +
                  ", contiguous finite float64 [" + std::to_string(rows) + ", " +
                  std::to_string(manifest.num_classes) + "] is wanted");
  }
  return golden;
}

at::Tensor read_tensor_file(const std::string& path) {
  const SealedFile file = seal(open_regular(path), path, available_memory_bytes());
  {
    const SealedView view(file);
    (void)scan_zip(view.bytes(), path, {});
  }
  const c10::IValue value = load_value(file, path);
  if (!value.isTensor()) {
    fail_artifact(path + ": holds a " + value.tagKind() + ", a plain tensor is wanted; write it " +
                  "with torch.save(x, path)");
  }
  require_plain(value.toTensor(), path);
  return value.toTensor().detach();
}

void validate_input(const at::Tensor& input, const Manifest& manifest, const std::string& name,
                    bool allow_nonfinite) {
  const bool shape_fits = input.dim() == 4 && input.sizes().slice(1) == manifest.sample_shape;
  if (input.scalar_type() != input_dtype(manifest) || !shape_fits) {
    fail_artifact(name + ": is " + describe(input) + ", the program takes " +
                  describe_wanted(manifest) + remedy(manifest));
  }
  if (input.size(0) == 0) {
    fail_artifact(name + ": has no rows, the program takes " + describe_wanted(manifest) +
                  " with N of at least 1; give it a row");
  }
  if (!input.is_contiguous()) {
    fail_artifact(name + ": is not contiguous " + (manifest.byte_input ? "NHWC" : "NCHW") +
                  ", the only layout the program takes; save x.contiguous()");
  }
  if (!manifest.byte_input && !allow_nonfinite && !all_finite(input)) {
    fail_artifact(name + ": holds NaN or Inf, the program takes finite values; clean it, or pass " +
                  "--allow-nonfinite");
  }
}

void validate_output(const at::Tensor& output, int64_t rows, const Manifest& manifest,
                     const std::string& file) {
  const std::vector<int64_t> wanted = {rows, manifest.num_classes};
  if (output.scalar_type() == at::kFloat && output.sizes() == wanted) return;
  fail_artifact(file + ": the program returned " + describe(output) + ", the manifest says " +
                "float32 [" + std::to_string(rows) + ", " + std::to_string(manifest.num_classes) +
                "]; rebuild the artifact");
}

std::vector<char> tensor_file_bytes(const at::Tensor& tensor) {
  return torch::jit::pickle_save(tensor);
}

}  // namespace zoo
