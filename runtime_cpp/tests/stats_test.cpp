#include "measure/stats.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace zoo {
namespace {

std::vector<int64_t> one_to(int64_t n) {
  std::vector<int64_t> samples(static_cast<size_t>(n));
  std::iota(samples.begin(), samples.end(), 1);
  return samples;
}

TEST(Stats, PercentileIsTheNearestRank) {
  const std::vector<int64_t> sorted = {10, 20, 30, 40};
  EXPECT_EQ(percentile(sorted, {25'000}), 10);
  EXPECT_EQ(percentile(sorted, {25'001}), 20);
  EXPECT_EQ(percentile(sorted, {50'000}), 20);
  EXPECT_EQ(percentile(sorted, {75'000}), 30);
  EXPECT_EQ(percentile(sorted, {99'000}), 40);
  EXPECT_EQ(percentile(one_to(1000), {99'900}), 999);  // 999.0000001 in floating point
  EXPECT_EQ(median(one_to(5)), 3);
  EXPECT_EQ(median(one_to(1)), 1);
}

TEST(Stats, PercentileNeedsTenSamplesBeyondIt) {
  EXPECT_EQ(supported_percentile(one_to(100), {90'000}), 90);
  EXPECT_EQ(supported_percentile(one_to(99), {90'000}), std::nullopt);
  EXPECT_EQ(supported_percentile(one_to(1000), {99'000}), 990);
  EXPECT_EQ(supported_percentile(one_to(999), {99'000}), std::nullopt);
  EXPECT_EQ(supported_percentile(one_to(10'000), {99'900}), 9990);
  EXPECT_EQ(supported_percentile(one_to(1), {50'000}), 1);
}

TEST(Stats, PercentileNames) {
  EXPECT_EQ(Percentile{90'000}.name(), "p90");
  EXPECT_EQ(Percentile{99'900}.name(), "p99.9");
  EXPECT_EQ(Percentile{99'050}.name(), "p99.05");
}

TEST(Stats, MedianIntervalByOrderStatistics) {
  EXPECT_FALSE(median_interval(one_to(5)).has_value());  // 1/32 is more than 0.025
  const auto at = [](int64_t n) { return median_interval(one_to(n)).value(); };
  EXPECT_EQ(at(6).low, 1);  // 1/64
  EXPECT_EQ(at(6).high, 6);
  EXPECT_EQ(at(10).low, 2);  // 11/1024 is enough, 56/1024 too much
  EXPECT_EQ(at(10).high, 9);
  EXPECT_EQ(at(100).low, 40);  // the tables' 40 and 61
  EXPECT_EQ(at(100).high, 61);
  EXPECT_EQ(at(1000).low, 469);
  EXPECT_EQ(at(1000).high, 532);
  EXPECT_EQ(at(1001).low, 469);  // floor((1001 - 1.959964 sqrt(1001)) / 2)
  EXPECT_EQ(at(1001).high, 533);
}

TEST(Stats, SpreadAndDrift) {
  const std::vector<int64_t> samples = {1, 2, 3, 4, 5};
  EXPECT_DOUBLE_EQ(mean(samples), 3);
  EXPECT_NEAR(coefficient_of_variation(samples).value(), 0.5270462767, 1e-9);  // sqrt(2.5) / 3
  EXPECT_FALSE(coefficient_of_variation(one_to(1)).has_value());
  const std::vector<int64_t> slower = {10, 10, 99, 20, 20};  // the middle one is in no half
  EXPECT_DOUBLE_EQ(drift(slower).value(), 1.0);
  EXPECT_FALSE(drift(one_to(1)).has_value());
}

TEST(Stats, ClockSkew) {
  EXPECT_NEAR(clock_skew(102, 100).value(), 0.02, 1e-12);
  EXPECT_FALSE(clock_skew(100, 0).has_value());
  EXPECT_FALSE(clock_skew(100, -5).has_value());
}

std::vector<std::string> reasons_of(const std::vector<int64_t>& samples, double skew) {
  return invalid_reasons(summarize(samples, {}), skew);
}

TEST(Stats, ValidOnlyWithoutAnyReason) {
  const std::vector<int64_t> steady(100, 1000);
  EXPECT_TRUE(reasons_of(steady, 0).empty());
  EXPECT_TRUE(reasons_of(steady, 0.01).empty());
  EXPECT_EQ(reasons_of(steady, -0.011).size(), 1u);
  EXPECT_EQ(reasons_of({1000, 1000}, 0).size(), 1u);  // no interval

  std::vector<int64_t> noisy;  // the halves agree, the interval is wide
  for (int i = 0; i < 20; ++i) noisy.push_back(i % 2 == 0 ? 1000 : 1200);
  EXPECT_EQ(reasons_of(noisy, 0).size(), 1u);

  std::vector<int64_t> drifting(1000, 1000);
  std::fill(drifting.begin() + 500, drifting.end(), 1060);
  EXPECT_EQ(reasons_of(drifting, 0.5).size(), 3u);
  EXPECT_EQ(invalid_reasons(summarize(steady, {}), std::nullopt).size(), 1u);
}

}  // namespace
}  // namespace zoo
