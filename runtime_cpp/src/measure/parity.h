#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "artifact/golden.h"
#include "artifact/manifest.h"

namespace zoo {

// The rule of docs/artifact.md, "Parity": the root mean square error of each row against the
// float64 oracle is at most k * e_eager + floor, that of each part of the row at most the same of
// the part, and where the oracle is sure of the most likely class, the output names the same one.

struct Error {
  double rmse = 0;
  double bound = 0;
  [[nodiscard]] bool within_bound() const { return rmse <= bound; }  // false for NaN, as it must be
  // rmse / bound. A network without biases gives exactly 0 for zeros, and so must the program.
  [[nodiscard]] double ratio() const { return rmse == 0 ? 0 : rmse / bound; }
};

// A group of channels, at the border of the output or in its interior.
struct PartError : Error {
  int64_t first_channel = 0;
  int64_t last_channel = 0;
  bool border = false;
};

struct RowResult {
  std::string kind;
  Error whole;
  std::optional<PartError> part;  // the worst; none where the output has no parts
  bool within_bounds = false;     // the whole and every part
  bool decided = false;           // the output is of classes, and the oracle's margin is clear
  bool agreed = false;            // the same most likely class
  [[nodiscard]] bool passed() const { return within_bounds && (!decided || agreed); }
  // The whole or the worst part, whichever is closer to its bound, or further beyond it.
  [[nodiscard]] bool part_is_worst() const;
  [[nodiscard]] const Error& worst() const;
};

// What a program gave for one output.
struct OutputResult {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<RowResult> rows;
  bool has_classes = true;  // where not, no row is decided, and none need be
  int64_t num_decided = 0;
  int64_t num_agreed = 0;            // among the decided
  int64_t num_ordinary_decided = 0;  // without the hostile rows, which prove no classifier
  double max_abs = 0;  // largest |output - oracle| of the ordinary rows; NaN where an output is
  [[nodiscard]] bool passed() const;
  [[nodiscard]] size_t worst_row() const;
};

// Whether one ratio, or largest error, is worse than the other: NaN is the worst.
[[nodiscard]] bool is_worse(double one, double other);

// Holds one output of a program to its golden rows, as they come. Nothing of a row is kept but what
// the result says of it.
class OutputCheck {
 public:
  // All that is given must live as long as this.
  OutputCheck(const Manifest& manifest, size_t index, const GoldenOutput& golden);

  // The next row: all values of one sample, in C order.
  void add_row(std::span<const float> values);

  // Fails with exit code 3 where a row is missing.
  [[nodiscard]] OutputResult result() const;

 private:
  void find_parts(const std::vector<int64_t>& shape);
  [[nodiscard]] size_t position(size_t index) const;
  [[nodiscard]] Error whole_error(size_t row, double squares) const;
  void judge_parts(RowResult& result, size_t row) const;
  void judge_classes(RowResult& result, size_t row, std::span<const float> values) const;

  const Parity& parity_;
  const OutputProof& proof_;
  const GoldenOutput& golden_;
  size_t num_values_;              // of one sample
  size_t num_kept_;                // of these in golden
  std::vector<uint32_t> part_of_;  // of each kept value: 2 * group, and 1 more in the interior
  std::vector<double> counts_;     // of kept values in each part
  std::vector<double> squares_;    // of the errors in each part of the row at hand
  OutputResult result_;
};

}  // namespace zoo
