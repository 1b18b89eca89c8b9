#include "artifact/golden.h"

#include <algorithm>

#include "artifact/safetensors.h"
#include "base/error.h"

namespace zoo {

namespace {

const std::string kFile = kGoldenFile;

[[noreturn]] void fail_values(const TensorView& tensor, const std::string& what) {
  fail_artifact(kFile + ": '" + tensor.name + "' holds " + what);
}

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

// Each position is one value of a sample, and none is there twice.
void check_positions(const TensorView& tensor, int64_t num_values) {
  int64_t before = -1;
  for (size_t i = 0; i < static_cast<size_t>(tensor.shape[0]); ++i) {
    const auto position = value_at<int64_t>(tensor, i);
    if (position <= before || position >= num_values) {
      fail_values(tensor, "positions that do not ascend from 0 or more to below " +
                              std::to_string(num_values));
    }
    before = position;
  }
}

void check_errors(const TensorView& tensor) {
  for (size_t i = 0; i < tensor.bytes.size() / sizeof(double); ++i) {
    if (value_at<double>(tensor, i) < 0) fail_values(tensor, "a value below 0; an error has none");
  }
}

GoldenOutput find_output(const std::vector<TensorView>& tensors, const Output& output,
                         const OutputProof& proof) {
  const auto rows = static_cast<int64_t>(proof.bounds.size());
  const std::vector<int64_t> kept =
      proof.positions ? std::vector{rows, *proof.positions} : with_rows(rows, output.shape);
  GoldenOutput golden{find(tensors, "oracle/" + output.name, "F64", kept), {}, {}};
  if (proof.positions) {
    golden.positions = find(tensors, "positions/" + output.name, "I64", {*proof.positions});
    check_positions(*golden.positions, num_values(output.shape));
  }
  if (proof.groups > 0) {
    golden.e_eager = find(tensors, "e_eager/" + output.name, "F64", {rows, proof.groups, 2});
    check_errors(*golden.e_eager);
  }
  return golden;
}

bool is_wanted(const GoldenViews& golden, const std::string& name) {
  const auto is = [&](const std::optional<TensorView>& view) { return view && view->name == name; };
  return golden.input.name == name || std::ranges::any_of(golden.outputs, [&](const auto& each) {
           return is(each.oracle) || is(each.positions) || is(each.e_eager);
         });
}

}  // namespace

GoldenViews find_golden(std::span<const std::byte> bytes, const Manifest& manifest) {
  const std::vector<TensorView> tensors = parse_safetensors(bytes, kFile);
  const auto rows = static_cast<int64_t>(manifest.parity.kinds.size());
  const Input& input = manifest.input;
  GoldenViews golden{find(tensors, "inputs/" + input.name, input.bytes ? "U8" : "F32",
                          with_rows(rows, input.shape)),
                     {}};
  for (size_t i = 0; i < manifest.outputs.size(); ++i) {
    golden.outputs.push_back(find_output(tensors, manifest.outputs[i], manifest.parity.outputs[i]));
  }
  for (const TensorView& tensor : tensors) {
    if (!is_wanted(golden, tensor.name)) {
      fail_artifact(kFile + ": holds '" + tensor.name + "', which the manifest does not want");
    }
    if (!all_finite(tensor)) fail_values(tensor, "NaN or Inf; all values must be finite");
  }
  return golden;
}

}  // namespace zoo
