#include "measure/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fixtures.h"

namespace zoo {
namespace {

using Rounds = std::vector<int64_t>;

TEST(Comparison, ARatioIsTakenRoundByRound) {
  // Each round is twice as slow as the one before: only the pairs tell the two apart.
  Rounds first;
  Rounds second;
  for (int64_t ns = 1000; first.size() < 11; ns *= 2) {
    first.push_back(ns);
    second.push_back(ns * 11 / 10);
  }
  const auto ratio = ratio_of(second, first);
  ASSERT_TRUE(ratio);
  EXPECT_DOUBLE_EQ(ratio->value, 1.1);
  EXPECT_DOUBLE_EQ(ratio->low, 1.1);
  EXPECT_EQ(ratio->verdict(), "slower");
  EXPECT_EQ(ratio_of(first, second)->verdict(), "faster");
}

TEST(Comparison, NoDifferenceIsShownWhereTheIntervalHoldsOne) {
  const Rounds first(11, 1000);
  Rounds second = {1001, 1001, 1001, 1001, 1001, 1001, 1001, 1001, 1001, 999, 999};
  EXPECT_EQ(ratio_of(second, first)->verdict(), "no difference shown");
  second[10] = 1001;  // one round of eleven may differ from the others
  EXPECT_EQ(ratio_of(second, first)->verdict(), "slower");
  EXPECT_EQ(ratio_of(first, first)->verdict(), "no difference shown");
}

TEST(Comparison, FewRoundsGiveNoInterval) {
  EXPECT_FALSE(ratio_of(Rounds(kMinRounds - 1, 1000), Rounds(kMinRounds - 1, 1000)));
  EXPECT_TRUE(ratio_of(Rounds(kMinRounds, 1000), Rounds(kMinRounds, 1000)));
  EXPECT_TRUE(ratio_of(Rounds(kMinRounds, 1000), Rounds(kMinRounds, 0)));  // a clock that stood
}

TEST(Comparison, ASeedDecidesTheOrder) {
  Shuffle one(7);
  Shuffle same(7);
  Shuffle other(8);
  std::set<std::vector<size_t>> seen;
  bool differs = false;
  for (int i = 0; i < 200; ++i) {
    const auto order = one.order(3);
    EXPECT_EQ(order, same.order(3));
    differs = differs || order != other.order(3);
    EXPECT_TRUE(std::ranges::is_permutation(order, std::vector<size_t>{0, 1, 2}));
    seen.insert(order);
  }
  EXPECT_EQ(seen.size(), 6u);
  EXPECT_TRUE(differs);
}

TEST(Comparison, ATurnIsALine) {
  const MeasurePlan turn = plan_turn(0.25, 1'000'000);
  EXPECT_EQ(turn.warmup_calls, 5);
  const MeasurePlan read = parse_turn(turn_line(turn));
  EXPECT_EQ(read.warmup_calls, 5);
  EXPECT_EQ(read.min_duration_ns, 250'000'000);
  EXPECT_EQ(read.min_iterations, turn.min_iterations);
  EXPECT_EQ(plan_turn(1, 80'000'000).warmup_calls, 0);  // the two that are always thrown away do
  EXPECT_LE(plan_turn(1, 0).warmup_calls, 1000);
  for (const char* line : {"", "1", "1 2 3", "-1 2", "1 -2", "x 2", "1 2x"}) {
    EXPECT_REFUSED(ExitCode::kUsage, "CALLS NANOSECONDS", parse_turn(line));
  }
}

}  // namespace
}  // namespace zoo
