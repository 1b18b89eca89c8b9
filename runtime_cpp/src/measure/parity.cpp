#include "measure/parity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace zoo {

namespace {

constexpr double kMarginFactor = 4;

double root_mean_square_error(std::span<const float> output, std::span<const double> oracle) {
  double squares = 0;
  for (size_t i = 0; i < oracle.size(); ++i) {
    const double error = static_cast<double>(output[i]) - oracle[i];
    squares += error * error;
  }
  return std::sqrt(squares / static_cast<double>(oracle.size()));
}

// Largest value less second largest; with a single class there is nothing to decide.
double margin(std::span<const double> oracle) {
  if (oracle.size() < 2) return 0;
  std::vector<double> values(oracle.begin(), oracle.end());
  std::ranges::nth_element(values, values.begin() + 1, std::greater<>());
  return values[0] - values[1];
}

RowResult check_row(const Parity& parity, const GoldenSample& sample, std::span<const float> output,
                    std::span<const double> oracle) {
  RowResult row;
  row.kind = sample.kind;
  row.bound = parity.k * sample.e_eager + sample.floor;
  row.rmse = root_mean_square_error(output, oracle);
  row.within_bound = row.rmse <= row.bound;  // false for NaN, and must stay so
  row.decided = parity.has_classes && margin(oracle) > kMarginFactor * row.bound;
  const bool has_nan = std::ranges::any_of(output, [](float x) { return std::isnan(x); });
  row.agreed = !has_nan && std::ranges::max_element(output) - output.begin() ==
                               std::ranges::max_element(oracle) - oracle.begin();
  return row;
}

double largest_error(std::span<const float> outputs, std::span<const double> oracle) {
  double largest = 0;
  for (size_t i = 0; i < oracle.size(); ++i) {
    const double error = std::abs(static_cast<double>(outputs[i]) - oracle[i]);
    if (!(error <= largest)) largest = error;
    if (std::isnan(error)) break;
  }
  return largest;
}

}  // namespace

bool CheckResult::passed() const {
  return (num_ordinary_decided > 0 || !has_classes) &&
         std::ranges::all_of(rows, &RowResult::passed);
}

CheckResult check_parity(const Parity& parity, std::span<const float> outputs,
                         std::span<const double> oracle) {
  const size_t num_rows = parity.samples.size();
  if (num_rows == 0 || outputs.size() != oracle.size() || outputs.size() % num_rows != 0) {
    fail_artifact(std::string(kGoldenFile) +
                  ": holds another number of values than the outputs have");
  }
  const size_t width = outputs.size() / num_rows;
  CheckResult result;
  result.has_classes = parity.has_classes;
  for (size_t i = 0; i < num_rows; ++i) {
    result.rows.push_back(check_row(parity, parity.samples[i], outputs.subspan(i * width, width),
                                    oracle.subspan(i * width, width)));
    result.num_decided += result.rows.back().decided ? 1 : 0;
    result.num_agreed += result.rows.back().decided && result.rows.back().agreed ? 1 : 0;
  }
  const size_t ordinary = std::min(num_rows, static_cast<size_t>(kOrdinaryRows));
  result.num_ordinary_decided = std::count_if(result.rows.begin(), result.rows.begin() + ordinary,
                                              [](const RowResult& row) { return row.decided; });
  result.max_abs = largest_error(outputs.first(ordinary * width), oracle.first(ordinary * width));
  return result;
}

}  // namespace zoo
