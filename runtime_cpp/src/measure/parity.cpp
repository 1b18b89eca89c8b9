#include "measure/parity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace zoo {

namespace {

constexpr double kMarginFactor = 4;

// The largest of `count` values, where it is, and the second largest.
struct Top {
  size_t index = 0;
  double largest = 0;
  double second = 0;
};

template <typename ValueAt>
Top find_top(size_t count, ValueAt&& value_of) {
  Top top{0, value_of(0), -std::numeric_limits<double>::infinity()};
  for (size_t i = 1; i < count; ++i) {
    const double value = value_of(i);
    if (value > top.largest) {
      top = {i, value, top.largest};
    } else {
      top.second = std::max(top.second, value);
    }
  }
  return top;
}

// Whether a value of this shape lies at the border: at the first or last place of some dimension
// behind the channels. `place` counts the values of one channel in C order.
bool is_border(int64_t place, const std::vector<int64_t>& shape) {
  for (size_t i = shape.size() - 1; i > 0; --i) {
    const int64_t index = place % shape[i];
    if (index == 0 || index == shape[i] - 1) return true;
    place /= shape[i];
  }
  return false;
}

}  // namespace

bool is_worse(double one, double other) {
  return std::isnan(one) ? !std::isnan(other) : one > other;
}

bool RowResult::part_is_worst() const { return part && is_worse(part->ratio(), whole.ratio()); }

const Error& RowResult::worst() const { return part_is_worst() ? *part : whole; }

bool OutputResult::passed() const {
  return (num_ordinary_decided > 0 || !has_classes) &&
         std::ranges::all_of(rows, &RowResult::passed);
}

size_t OutputResult::worst_row() const {
  size_t worst = 0;
  for (size_t i = 1; i < rows.size(); ++i) {
    if (is_worse(rows[i].worst().ratio(), rows[worst].worst().ratio())) worst = i;
  }
  return worst;
}

OutputCheck::OutputCheck(const Manifest& manifest, size_t index, const GoldenOutput& golden)
    : parity_(manifest.parity),
      proof_(manifest.parity.outputs[index]),
      golden_(golden),
      num_values_(static_cast<size_t>(num_values(manifest.outputs[index].shape))),
      num_kept_(proof_.positions ? static_cast<size_t>(*proof_.positions) : num_values_) {
  const Output& output = manifest.outputs[index];
  result_.name = output.name;
  result_.shape = output.shape;
  result_.has_classes = proof_.has_classes;
  if (proof_.groups > 0) find_parts(output.shape);
}

size_t OutputCheck::position(size_t index) const {
  if (!golden_.positions) return index;
  return static_cast<size_t>(value_at<int64_t>(*golden_.positions, index));
}

void OutputCheck::find_parts(const std::vector<int64_t>& shape) {
  const int64_t values_of_channel = static_cast<int64_t>(num_values_) / shape[0];
  counts_.assign(static_cast<size_t>(proof_.groups) * 2, 0);
  squares_.resize(counts_.size());
  part_of_.resize(num_kept_);
  for (size_t i = 0; i < num_kept_; ++i) {
    const auto at = static_cast<int64_t>(position(i));
    const int64_t group = at / values_of_channel * proof_.groups / shape[0];
    const bool border = is_border(at % values_of_channel, shape);
    part_of_[i] = static_cast<uint32_t>(2 * group + (border ? 0 : 1));
    counts_[part_of_[i]] += 1;
  }
}

void OutputCheck::add_row(std::span<const float> values) {
  const size_t row = result_.rows.size();
  if (row >= parity_.kinds.size() || values.size() != num_values_) {
    fail_artifact(std::string(kGoldenFile) +
                  ": holds another number of values than the outputs have");
  }
  std::ranges::fill(squares_, 0);
  double squares = 0;
  for (size_t i = 0; i < num_kept_; ++i) {
    const double error = static_cast<double>(values[position(i)]) -
                         value_at<double>(golden_.oracle, row * num_kept_ + i);
    squares += error * error;
    if (!part_of_.empty()) squares_[part_of_[i]] += error * error;
    const bool ordinary = row < static_cast<size_t>(kOrdinaryRows);
    if (ordinary && is_worse(std::abs(error), result_.max_abs)) result_.max_abs = std::abs(error);
  }
  RowResult result;
  result.kind = parity_.kinds[row];
  result.whole = whole_error(row, squares);
  result.within_bounds = result.whole.within_bound();
  if (!part_of_.empty()) judge_parts(result, row);
  if (proof_.has_classes) judge_classes(result, row, values);
  result_.num_decided += result.decided ? 1 : 0;
  result_.num_agreed += result.decided && result.agreed ? 1 : 0;
  if (row < static_cast<size_t>(kOrdinaryRows)) {
    result_.num_ordinary_decided += result.decided ? 1 : 0;
  }
  result_.rows.push_back(std::move(result));
}

Error OutputCheck::whole_error(size_t row, double squares) const {
  const Bound& bound = proof_.bounds[row];
  return {std::sqrt(squares / static_cast<double>(num_kept_)),
          parity_.k * bound.e_eager + bound.floor};
}

void OutputCheck::judge_parts(RowResult& result, size_t row) const {
  const int64_t channels = result_.shape[0];
  for (size_t part = 0; part < counts_.size(); ++part) {
    if (counts_[part] == 0) continue;
    const double e_eager = value_at<double>(*golden_.e_eager, row * counts_.size() + part);
    PartError error;
    error.rmse = std::sqrt(squares_[part] / counts_[part]);
    error.bound = parity_.k * e_eager + proof_.bounds[row].floor;
    // Group g has the channels c for which c * groups / channels, rounded down, is g.
    const auto group = static_cast<int64_t>(part / 2);
    const auto first_of = [&](int64_t g) {
      return (g * channels + proof_.groups - 1) / proof_.groups;
    };
    error.first_channel = first_of(group);
    error.last_channel = first_of(group + 1) - 1;
    error.border = part % 2 == 0;
    if (!error.within_bound()) result.within_bounds = false;
    if (!result.part || is_worse(error.ratio(), result.part->ratio())) result.part = error;
  }
}

void OutputCheck::judge_classes(RowResult& result, size_t row,
                                std::span<const float> values) const {
  const auto value_of = [&](size_t i) { return static_cast<double>(values[position(i)]); };
  const Top oracle = find_top(
      num_kept_, [&](size_t i) { return value_at<double>(golden_.oracle, row * num_kept_ + i); });
  // With a single class there is nothing to decide.
  result.decided =
      num_kept_ > 1 && oracle.largest - oracle.second > kMarginFactor * result.whole.bound;
  // An output with a NaN agrees with nothing: its error is NaN.
  result.agreed =
      !std::isnan(result.whole.rmse) && find_top(num_kept_, value_of).index == oracle.index;
}

OutputResult OutputCheck::result() const {
  if (result_.rows.size() != parity_.kinds.size()) {
    fail_artifact(std::string(kGoldenFile) + ": holds another number of rows than were run");
  }
  return result_;
}

}  // namespace zoo
