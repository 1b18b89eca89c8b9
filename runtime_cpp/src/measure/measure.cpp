#include "measure/measure.h"

#include <algorithm>

namespace zoo {

namespace {

constexpr int64_t kReserveAtMost = 1'000'000;  // 8 MB; beyond that growing is rare and cheap

int64_t to_ns(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

void warm_up(const MeasurePlan& plan, const Clocks& clocks, const std::function<void()>& call,
             const std::function<void()>& between, Measurement& result) {
  const int64_t wanted = plan.warmup_calls.value_or(kDefaultWarmupCalls);
  const int64_t wanted_ns = plan.warmup_calls ? 0 : to_ns(kDefaultWarmupS);
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
  return {warmup_calls, iterations.value_or(neither ? kDefaultIterations : 1), to_ns(seconds)};
}

double throughput_per_s(const Measurement& measurement, int64_t batch) {
  return static_cast<double>(batch) * static_cast<double>(measurement.samples_ns.size()) * 1e9 /
         static_cast<double>(std::max<int64_t>(1, measurement.steady_ns));
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

  const auto is_done = [&] {
    const auto count = static_cast<int64_t>(result.samples_ns.size());
    return (count >= plan.min_iterations && result.steady_ns >= plan.min_duration_ns) ||
           count >= kMaxSamples;
  };
  between();
  const int64_t steady_start = clocks.steady_ns();
  const int64_t system_start = clocks.system_ns();
  while (true) {
    const int64_t start = clocks.steady_ns();
    call();
    const int64_t end = clocks.steady_ns();
    result.samples_ns.push_back(end - start);
    result.steady_ns = end - steady_start;
    if (is_done()) break;
    between();
  }
  result.system_ns = clocks.system_ns() - system_start;
  return result;
}

}  // namespace zoo
