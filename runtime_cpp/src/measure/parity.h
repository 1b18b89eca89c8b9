#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "artifact/manifest.h"

namespace zoo {

// The rule of docs/artifact.md, "parity": the root mean square error of each row against the
// float64 oracle is at most k * e_eager + floor, and where the oracle is sure of the most likely
// class, the output names the same one.
struct RowResult {
  std::string kind;
  double rmse = 0;
  double bound = 0;
  bool within_bound = false;
  bool decided = false;  // the output is of classes, and the oracle's margin exceeds 4 * bound
  bool agreed = false;   // the same most likely class
  [[nodiscard]] bool passed() const { return within_bound && (!decided || agreed); }
  // rmse / bound. A network without biases gives exactly 0 for zeros, and so must the program.
  [[nodiscard]] double ratio() const { return rmse == 0 ? 0 : rmse / bound; }
};

struct CheckResult {
  std::vector<RowResult> rows;
  bool has_classes = true;  // where not, no row is decided, and none need be
  int64_t num_decided = 0;
  int64_t num_agreed = 0;            // among the decided
  int64_t num_ordinary_decided = 0;  // without the hostile rows, which prove no classifier
  double max_abs = 0;  // largest |output - oracle| of the ordinary rows; NaN where an output is
  [[nodiscard]] bool passed() const;
};

// `outputs` and `oracle` hold one row after another, `parity.samples.size()` of them.
[[nodiscard]] CheckResult check_parity(const Parity& parity, std::span<const float> outputs,
                                       std::span<const double> oracle);

}  // namespace zoo
