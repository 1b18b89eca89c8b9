#include "measure/measure.h"

#include <algorithm>

namespace zoo {

namespace {

constexpr int64_t kDefaultWarmupCalls = 10;
constexpr int64_t kDefaultWarmupNs = 1'000'000'000;
constexpr int64_t kDefaultIterations = 10;
constexpr double kDefaultDurationS = 3;
constexpr int64_t kReserveAtMost = 1'000'000;  // 8 MB; beyond that growing is rare and cheap

void warm_up(const MeasurePlan& plan, const Clocks& clocks, const std::function<void()>& call,
             const std::function<void()>& between, Measurement& result) {
  const int64_t wanted = plan.warmup_calls.value_or(kDefaultWarmupCalls);
  const int64_t wanted_ns = plan.warmup_calls ? 0 : kDefaultWarmupNs;
  const int64_t start = clocks.steady_ns();
  while (result.warmup_calls < wanted || result.warmup_ns < wanted_ns) {
    between();
    call();
    ++result.warmup_calls;
    result.warmup_ns = clocks.steady_ns() - start;
  }
}

// Room for as many samples as the second call lets expect, so that the loop seldom allocates.
void reserve_samples(const MeasurePlan& plan, Measurement& result) {
  const int64_t expected = plan.min_duration_ns / std::max<int64_t>(1, result.second_call_ns);
  const int64_t wanted = std::max(plan.min_iterations, 2 * expected + 64);
  result.samples_ns.reserve(static_cast<size_t>(std::min(wanted, kReserveAtMost)));
}

}  // namespace

MeasurePlan make_plan(std::optional<int64_t> warmup_calls, std::optional<int64_t> iterations,
                      std::optional<double> duration_s) {
  const bool neither = !iterations && !duration_s;
  const double seconds = neither ? kDefaultDurationS : duration_s.value_or(0);
  return {warmup_calls, iterations.value_or(neither ? kDefaultIterations : 1),
          static_cast<int64_t>(seconds * 1e9)};
}

Measurement measure(const MeasurePlan& plan, const Clocks& clocks,
                    const std::function<void()>& call, const std::function<void()>& between) {
  Measurement result;
  const auto timed = [&] {
    between();
    const int64_t start = clocks.steady_ns();
    call();
    return clocks.steady_ns() - start;
  };
  result.first_call_ns = timed();
  result.second_call_ns = timed();
  warm_up(plan, clocks, call, between, result);
  reserve_samples(plan, result);

  const int64_t steady_start = clocks.steady_ns();
  const int64_t system_start = clocks.system_ns();
  int64_t count = 0;
  do {
    result.samples_ns.push_back(timed());
    ++count;
    result.steady_ns = clocks.steady_ns() - steady_start;
  } while ((count < plan.min_iterations || result.steady_ns < plan.min_duration_ns) &&
           count < kMaxSamples);
  result.system_ns = clocks.system_ns() - system_start;
  return result;
}

}  // namespace zoo
