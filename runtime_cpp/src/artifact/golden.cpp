#include "artifact/golden.h"

#include <algorithm>

#include "artifact/safetensors.h"
#include "base/error.h"

namespace zoo {

namespace {

const std::string kFile = kGoldenFile;

const TensorView& find(const std::vector<TensorView>& tensors, const std::string& name,
                       const std::string& dtype, const std::vector<int64_t>& shape) {
  const auto tensor = std::ranges::find(tensors, name, &TensorView::name);
  if (tensor == tensors.end()) fail_artifact(kFile + ": holds no '" + name + "'");
  if (tensor->dtype != dtype || tensor->shape != shape) {
    fail_artifact(kFile + ": '" + name + "' is " + describe(tensor->dtype, tensor->shape) +
                  ", the manifest wants " + describe(dtype, shape));
  }
  return *tensor;
}

}  // namespace

GoldenViews find_golden(std::span<const std::byte> bytes, const Manifest& manifest) {
  const std::vector<TensorView> tensors = parse_safetensors(bytes, kFile);
  const auto rows = static_cast<int64_t>(manifest.parity.samples.size());
  const Input& input = manifest.input;
  const Output& output = manifest.output;
  const GoldenViews golden{
      find(tensors, "inputs/" + input.name, input.bytes ? "U8" : "F32",
           with_rows(rows, input.shape)),
      find(tensors, "oracle/" + output.name, "F64", with_rows(rows, output.shape))};
  if (tensors.size() != 2) {
    fail_artifact(kFile + ": holds " + std::to_string(tensors.size()) + " tensors, 2 are wanted");
  }
  for (const TensorView& tensor : tensors) {
    if (all_finite(tensor)) continue;
    fail_artifact(kFile + ": '" + tensor.name + "' holds NaN or Inf; all values must be finite");
  }
  return golden;
}

}  // namespace zoo
