#include "measure/measure.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace zoo {
namespace {

int64_t g_now = 0;
Clocks fake_clocks() {
  return {[] { return g_now; }, [] { return 2 * g_now; }};
}

TEST(Measure, KeepsColdCallsApart) {
  g_now = 0;
  int64_t calls = 0;
  const auto call = [&] { g_now += ++calls == 1 ? 500 : 100; };
  const Measurement result = measure({3, 5, 0}, fake_clocks(), call, [] {});
  EXPECT_EQ(result.first_call_ns, 500);
  EXPECT_EQ(result.second_call_ns, 100);
  EXPECT_EQ(result.warmup_calls, 3);
  EXPECT_EQ(result.warmup_ns, 300);
  EXPECT_EQ(result.samples_ns, std::vector<int64_t>(5, 100));
  EXPECT_EQ(result.steady_ns, 500);
  EXPECT_EQ(result.system_ns, 1000);
  EXPECT_EQ(calls, 2 + 3 + 5);
}

TEST(Measure, EndsWhenBothAreMet) {
  const auto call = [] { g_now += 100; };
  const auto samples = [&](int64_t iterations, int64_t duration_ns) {
    return measure({0, iterations, duration_ns}, fake_clocks(), call, [] {}).samples_ns.size();
  };
  EXPECT_EQ(samples(5, 1000), 10u);
  EXPECT_EQ(samples(20, 1000), 20u);
  EXPECT_EQ(samples(1, 0), 1u);
}

TEST(Measure, WarmsUpForTenCallsAndASecond) {
  const auto slow = [] { g_now += 250'000'000; };
  EXPECT_EQ(measure({{}, 1, 0}, fake_clocks(), slow, [] {}).warmup_calls, 10);
  const auto fast = [] { g_now += 50'000'000; };
  EXPECT_EQ(measure({{}, 1, 0}, fake_clocks(), fast, [] {}).warmup_calls, 20);
}

TEST(Measure, TimeBetweenCallsIsInNoSample) {
  const auto call = [] { g_now += 100; };
  const auto between = [] { g_now += 7; };
  EXPECT_EQ(measure({0, 3, 0}, fake_clocks(), call, between).samples_ns,
            std::vector<int64_t>(3, 100));
}

TEST(Measure, StopsWhenBetweenThrows) {
  int calls = 0;
  const auto between = [&] {
    if (calls == 4) throw std::runtime_error("stop");
  };
  EXPECT_THROW(
      (void)measure({0, 100, 0}, fake_clocks(), [&] { ++calls; }, between), std::runtime_error);
  EXPECT_EQ(calls, 4);
}

TEST(Measure, ThroughputIsOverTheWholeTimedRegion) {
  const auto call = [] { g_now += 100; };
  const auto between = [] { g_now += 25; };
  const Measurement measured = measure({0, 4, 0}, fake_clocks(), call, between);
  EXPECT_EQ(measured.steady_ns, 4 * 100 + 3 * 25);
  EXPECT_DOUBLE_EQ(throughput_per_s(measured, 8), 8 * 4 * 1e9 / 475);
  EXPECT_EQ(throughput_per_s({}, 8), 0);
}

TEST(Measure, OneLimitAloneGovernsAlone) {
  const MeasurePlan neither = make_plan({}, {}, {});
  EXPECT_EQ(neither.min_iterations, kDefaultIterations);
  EXPECT_EQ(neither.min_duration_ns, static_cast<int64_t>(kDefaultDurationS * 1e9));
  EXPECT_EQ(make_plan({}, 7, {}).min_duration_ns, 0);
  EXPECT_EQ(make_plan({}, {}, 0.5).min_iterations, 1);
  EXPECT_EQ(make_plan({}, {}, 0.5).min_duration_ns, 500'000'000);
}

}  // namespace
}  // namespace zoo
