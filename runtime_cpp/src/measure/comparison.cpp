#include "measure/comparison.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "measure/stats.h"

namespace zoo {

namespace {
constexpr double kUnit = 1e9;  // the statistics take whole numbers: ratios in billionths
constexpr int64_t kSwitchNs = 5'000'000;
constexpr int64_t kFewestCalls = 2;
constexpr int64_t kMostThrownAway = 1000;
}  // namespace

std::string_view Ratio::verdict() const {
  if (high < 1) return "faster";
  return low > 1 ? "slower" : "no difference shown";
}

std::optional<Ratio> ratio_of(std::span<const int64_t> rounds, std::span<const int64_t> reference) {
  std::vector<int64_t> ratios;
  for (size_t i = 0; i < std::min(rounds.size(), reference.size()); ++i) {
    const auto other = static_cast<double>(std::max<int64_t>(1, reference[i]));
    ratios.push_back(std::llround(kUnit * static_cast<double>(rounds[i]) / other));
  }
  std::ranges::sort(ratios);
  const auto interval = median_interval(ratios);
  if (!interval) return std::nullopt;
  return Ratio{.value = static_cast<double>(median(ratios)) / kUnit,
               .low = static_cast<double>(interval->low) / kUnit,
               .high = static_cast<double>(interval->high) / kUnit};
}

std::string turn_line(const MeasurePlan& turn) {
  return std::to_string(turn.warmup_calls.value_or(0)) + " " + std::to_string(turn.min_duration_ns);
}

MeasurePlan parse_turn(const std::string& line) {
  std::istringstream stream(line);
  int64_t calls = -1;
  int64_t duration_ns = -1;
  if (!(stream >> calls >> duration_ns) || !stream.eof() || calls < 0 || duration_ns < 0) {
    throw RunnerError(ExitCode::kUsage, "'" + line + "': must be CALLS NANOSECONDS, or end");
  }
  return {.warmup_calls = calls, .min_iterations = kFewestCalls, .min_duration_ns = duration_ns};
}

MeasurePlan plan_turn(double seconds, int64_t call_ns) {
  return {.warmup_calls = std::min(kSwitchNs / std::max<int64_t>(1, call_ns), kMostThrownAway),
          .min_iterations = kFewestCalls,
          .min_duration_ns = static_cast<int64_t>(seconds * 1e9)};
}

std::vector<size_t> Shuffle::order(size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random_.next() % i]);
  return order;
}

}  // namespace zoo
