// The scenarios with systems made up here: threads, arrivals, and what counts as latency.
#include "measure/scenario.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>

#include "machine/pinning.h"
#include "measure/arrivals.h"

namespace zoo {
namespace {

constexpr int64_t kMs = 1'000'000;

// Each call sleeps: at least `ms`, so what is tested are lower limits, which a busy machine keeps.
class Sleeper final : public System {
 public:
  explicit Sleeper(size_t streams, int64_t ms) : answered(streams), streams_(streams), ms_(ms) {}

  size_t streams() const override { return streams_; }
  size_t samples() const override { return 4; }
  void enter(size_t) override {}
  void call(size_t stream, size_t sample) override {
    answered[stream].push_back(sample);
    std::this_thread::sleep_for(std::chrono::milliseconds(ms_ * static_cast<int64_t>(stream + 1)));
  }
  bool is_right(size_t, size_t sample) override { return sample != 3; }
  void fill(size_t, uint64_t) override {}

  std::vector<std::vector<size_t>> answered;

 private:
  size_t streams_;
  int64_t ms_;
};

TEST(Team, EveryThreadDoesEveryJobOnce) {
  std::atomic<int> entered{0};
  Team team(3, [&](size_t) { ++entered; });
  EXPECT_EQ(entered, 3);
  std::array<std::atomic<int>, 3> done{};
  for (int i = 0; i < 100; ++i) team.run([&](size_t stream) { ++done[stream]; });
  for (const auto& count : done) EXPECT_EQ(count, 100);
}

TEST(Team, ThrowsWhatAThreadThrowsAndGoesOn) {
  EXPECT_THROW(Team(2, [](size_t) { throw std::runtime_error("no"); }), std::runtime_error);
  Team team(2, [](size_t) {});
  const auto fail = [](size_t stream) {
    if (stream == 1) throw std::runtime_error("no");
  };
  EXPECT_THROW(team.run(fail), std::runtime_error);
  std::atomic<int> done{0};
  team.run([&](size_t) { ++done; });
  EXPECT_EQ(done, 2);
}

TEST(Pinning, EachStreamHasCoresOfItsOwn) {
  const std::vector<int> cores = {0, 2, 3, 7};
  EXPECT_EQ(divide_cores(cores, 2, 2), (std::vector<std::vector<int>>{{0, 2}, {3, 7}}));
  EXPECT_EQ(divide_cores(cores, 3, 1), (std::vector<std::vector<int>>{{0}, {2}, {3}}));
  EXPECT_TRUE(divide_cores(cores, 5, 1).empty());
  EXPECT_TRUE(divide_cores(cores, 2, 3).empty());
  EXPECT_FALSE(pin_this_thread({}));
  Team team(1, [](size_t) {});
  const int last = core_numbers().back();
  team.run([&](size_t) {
    EXPECT_TRUE(pin_this_thread(std::array{last}));
    EXPECT_EQ(core_numbers(), std::vector<int>{last});
  });
}

TEST(Arrivals, GapsAreExponentialAndSeeded) {
  const auto arrivals = poisson_arrivals(1000, 20'000, 7);
  EXPECT_TRUE(std::ranges::is_sorted(arrivals));
  EXPECT_EQ(arrivals, poisson_arrivals(1000, 20'000, 7));
  EXPECT_NE(arrivals, poisson_arrivals(1000, 20'000, 8));
  EXPECT_NEAR(static_cast<double>(arrivals.back()) / 20'000, 1e6, 0.03e6);
  int64_t long_gaps = 0;  // longer than the mean: 1 / e of them
  for (size_t i = 1; i < arrivals.size(); ++i) {
    if (arrivals[i] - arrivals[i - 1] > kMs) ++long_gaps;
  }
  EXPECT_NEAR(static_cast<double>(long_gaps) / 20'000, 0.3679, 0.015);
}

TEST(RateSearch, FindsTheHighestRateThatPasses) {
  for (const double start : {1.0, 90.0, 1500.0}) {
    const RateSearch search = search_rate(start, [](double rate) {
      return RateStep{.rate_per_s = rate, .queries = 10, .p99_ns = 1, .passed = rate <= 100};
    });
    ASSERT_TRUE(search.rate) << start;
    EXPECT_GT(*search.rate, 96) << start;
    EXPECT_LE(*search.rate, 100) << start;
    EXPECT_TRUE(search.steps.back().confirms);
    EXPECT_LE(search.steps.size(), 20u);
  }
}

TEST(RateSearch, ARateThatPassedOnceIsNotEnough) {
  int tries = 0;
  double lucky = 0;
  const RateSearch search = search_rate(10, [&](double rate) {
    const bool again = rate == lucky;
    if (rate <= 100) lucky = std::max(lucky, rate);
    ++tries;
    return RateStep{.rate_per_s = rate, .p99_ns = 1, .passed = rate <= 100 && !again};
  });
  ASSERT_TRUE(search.rate);
  EXPECT_LT(*search.rate, lucky);
  EXPECT_EQ(search.steps.size(), static_cast<size_t>(tries));
}

TEST(RateSearch, IsBounded) {
  const auto count = [](bool passes) {
    return search_rate(1,
                       [&](double rate) {
                         return RateStep{.rate_per_s = rate, .p99_ns = 1, .passed = passes};
                       })
        .steps.size();
  };
  EXPECT_EQ(count(false), 5u);
  EXPECT_LE(count(true), 20u);
  EXPECT_FALSE(search_rate(1, [](double) { return RateStep{}; }).rate);
}

TEST(MultiStream, AQueryEndsWithItsSlowestStream) {
  Sleeper system(2, 3);
  Team team(2, [](size_t) {});
  const MeasurePlan plan{.warmup_calls = {}, .min_iterations = 4};
  const ScenarioRun run = run_multi_stream(team, system, plan, real_clocks());
  ASSERT_EQ(run.samples_ns.size(), 4u);
  for (const int64_t sample : run.samples_ns) EXPECT_GE(sample, 6 * kMs);
  EXPECT_EQ(run.calls, 8);
  EXPECT_EQ(system.answered[0], (std::vector<size_t>{0, 2, 0, 2}));
  EXPECT_EQ(system.answered[1], (std::vector<size_t>{1, 3, 1, 3}));
  EXPECT_EQ(run.wrong, 2);  // those of sample 3
  EXPECT_GE(run.steady_ns, std::accumulate(run.samples_ns.begin(), run.samples_ns.end(), 0LL));
}

TEST(Offline, EveryCallIsMadeOnceByTheStreamThatIsFree) {
  Sleeper system(2, 2);
  Team team(2, [](size_t) {});
  const MeasurePlan plan{.warmup_calls = {}, .min_iterations = 12};
  const ScenarioRun run = run_offline(team, system, plan, real_clocks());
  EXPECT_EQ(run.calls, 12);
  EXPECT_EQ(run.samples_ns.size(), 12u);
  EXPECT_EQ(system.answered[0].size() + system.answered[1].size(), 12u);
  EXPECT_EQ(run.wrong, 3);
  EXPECT_GT(calls_per_s(run), 0);
  EXPECT_DOUBLE_EQ(calls_per_s({.calls = 6, .steady_ns = 4'000, .hashing_ns = 1'000}), 2e6);
}

// Five queries arrive at once, each call takes 5 ms: the last one waits for all before it. Counted
// from the start of its own call it would have taken 5 ms like every other.
TEST(Server, LatencyCountsFromTheScheduledArrival) {
  Sleeper system(1, 5);
  Team team(1, [](size_t) {});
  const std::vector<int64_t> arrivals = {0, 1, 2, 3, 4, 60 * kMs};
  const ScenarioRun run = run_server(team, system, {.arrivals = arrivals}, real_clocks());
  ASSERT_EQ(run.samples_ns.size(), 6u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_GE(run.samples_ns[i], static_cast<int64_t>(i + 1) * 5 * kMs - 4) << i;
  }
  EXPECT_GE(run.steady_ns, 65 * kMs);  // the last one did not come before its time
}

TEST(Server, EndsEarlyWhenTooManyAreLate) {
  Sleeper system(1, 2);
  Team team(1, [](size_t) {});
  const std::vector<int64_t> arrivals(1000, 0);
  const ScenarioRun run = run_server(
      team, system, {.arrivals = arrivals, .bound_ns = kMs, .most_late = 10}, real_clocks());
  EXPECT_EQ(run.samples_ns.size(), 11u);
}

}  // namespace
}  // namespace zoo
