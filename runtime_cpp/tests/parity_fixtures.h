#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "measure/parity.h"

namespace zoo::testing {

// One output of two classes, whose bound is 2 * e_eager + floor in each row.
inline Manifest classifier(std::vector<Bound> bounds) {
  Manifest manifest;
  manifest.parity.k = 2;
  manifest.parity.kinds.assign(bounds.size(), "normal");
  manifest.outputs = {{"y", {2}, {}}};
  manifest.parity.outputs = {{std::nullopt, std::move(bounds), 0, true}};
  return manifest;
}

inline std::vector<Bound>& bounds_of(Manifest& manifest) {
  return manifest.parity.outputs[0].bounds;
}

template <typename T>
TensorView view_of(const std::vector<T>& values) {
  return {"", "", {static_cast<int64_t>(values.size())}, std::as_bytes(std::span(values))};
}

// What the first output comes to, for rows one after another.
inline OutputResult check_rows(const Manifest& manifest, const std::vector<float>& outputs,
                               const GoldenOutput& golden) {
  OutputCheck check(manifest, 0, golden);
  const auto width = static_cast<size_t>(num_values(manifest.outputs[0].shape));
  for (size_t at = 0; at < outputs.size(); at += width) {
    check.add_row(std::span(outputs).subspan(at, std::min(width, outputs.size() - at)));
  }
  return check.result();
}

}  // namespace zoo::testing
