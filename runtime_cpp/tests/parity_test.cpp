#include "measure/parity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fixtures.h"
#include "parity_fixtures.h"

namespace zoo {
namespace {

using testing::bounds_of;
using testing::check_rows;
using testing::classifier;
using testing::view_of;

// Two rows of two classes; the bound is 2 * 0.01 + 0.005 = 0.025.
Manifest two_rows() { return classifier({{0.01, 0.005}, {0.01, 0.005}}); }
const std::vector<double> kOracle = {1, 0, 0, 1};

OutputResult check_parity(const Manifest& manifest, const std::vector<float>& outputs,
                          const std::vector<double>& oracle) {
  return check_rows(manifest, outputs, {view_of(oracle), {}, {}});
}

TEST(Parity, PassesWithinTheBound) {
  const std::vector<float> outputs = {1.0f, 0.03f, 0.0f, 1.0f};
  const OutputResult result = check_parity(two_rows(), outputs, kOracle);
  EXPECT_NEAR(result.rows[0].whole.rmse, 0.03 / std::sqrt(2.0), 1e-8);
  EXPECT_DOUBLE_EQ(result.rows[0].whole.bound, 0.025);
  EXPECT_TRUE(result.passed());
  EXPECT_EQ(result.num_decided, 2);
  EXPECT_EQ(result.num_agreed, 2);
  EXPECT_NEAR(result.max_abs, 0.03, 1e-8);
}

TEST(Parity, FailsBeyondTheBound) {
  const std::vector<float> outputs = {1.0f, 0.04f, 0.0f, 1.0f};
  const OutputResult result = check_parity(two_rows(), outputs, kOracle);
  EXPECT_FALSE(result.rows[0].passed());
  EXPECT_TRUE(result.rows[1].passed());
  EXPECT_FALSE(result.passed());
}

TEST(Parity, NothingThatIsNotANumberPasses) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (size_t i = 0; i < 4; ++i) {
      std::vector<float> outputs = {1, 0, 0, 1};
      outputs[i] = bad;
      EXPECT_FALSE(check_parity(two_rows(), outputs, kOracle).passed());
    }
  }
}

TEST(Parity, NaNFailsARowThatDecidesNothing) {
  const std::vector<double> oracle = {0.5, 0.5, 0, 1};
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  const OutputResult result = check_parity(two_rows(), std::vector<float>{nan, 0.5f, 0, 1}, oracle);
  EXPECT_FALSE(result.rows[0].decided);
  EXPECT_FALSE(result.rows[0].passed());
  EXPECT_FALSE(result.passed());
}

TEST(Parity, TheMostLikelyClassMustAgreeWhereTheOracleIsSure) {
  Manifest parity = two_rows();
  parity.parity.k = 0;
  bounds_of(parity)[0].floor = 0.2;  // margin 0.9 > 0.8: decided
  bounds_of(parity)[1].floor = 0.2;
  const std::vector<double> oracle = {0.9, 0, 0, 0.9};
  EXPECT_TRUE(check_parity(parity, std::vector<float>{0.9f, 0, 0, 0.9f}, oracle).passed());
  bounds_of(parity)[0].floor = 0.225;  // margin 0.9, not more than 4 * 0.225
  const OutputResult close = check_parity(parity, std::vector<float>{0.9f, 0, 0, 0.9f}, oracle);
  EXPECT_EQ(close.num_decided, 1);
  EXPECT_TRUE(close.passed());
}

TEST(Parity, ADifferentClassFailsWithinTheBound) {
  // 1000 classes dilute one swapped pair: the error is small, the answer is wrong.
  Manifest parity = classifier({{0.025, 0}});
  parity.outputs[0].shape = {1000};
  std::vector<double> oracle(1000, 0.0);
  std::vector<float> outputs(1000, 0.0f);
  oracle[3] = 1.0;
  outputs[3] = 0.4f;
  outputs[4] = 0.5f;
  const OutputResult result = check_parity(parity, outputs, oracle);
  EXPECT_TRUE(result.rows[0].within_bounds);
  EXPECT_TRUE(result.rows[0].decided);
  EXPECT_FALSE(result.passed());
}

TEST(Parity, WhatHasNoClassesNeedDecideNone) {
  Manifest parity = two_rows();
  parity.parity.outputs[0].has_classes = false;
  const OutputResult result = check_parity(parity, std::vector<float>{1, 0, 0, 1}, kOracle);
  EXPECT_EQ(result.num_decided, 0);
  EXPECT_TRUE(result.passed());
  EXPECT_FALSE(check_parity(parity, std::vector<float>{1, 1, 0, 1}, kOracle).passed());
}

TEST(Parity, DecidingNoneProvesNothing) {
  Manifest parity = two_rows();
  bounds_of(parity)[0].floor = bounds_of(parity)[1].floor = 10;
  const OutputResult result = check_parity(parity, std::vector<float>{1, 0, 0, 1}, kOracle);
  EXPECT_EQ(result.num_decided, 0);
  EXPECT_FALSE(result.passed());
}

TEST(Parity, AHostileRowAloneDecidesNothing) {
  std::vector<Bound> bounds(16, {0, 10});  // too wide to decide a class
  bounds.push_back({0, 0.01});
  Manifest parity = classifier(bounds);
  const std::vector<double> oracle(34, 0.0);
  std::vector<double> clear = oracle;
  clear[32] = 1;
  std::vector<float> outputs(34, 0.0f);
  outputs[32] = 1;
  const OutputResult result = check_parity(parity, outputs, clear);
  EXPECT_EQ(result.num_decided, 1);
  EXPECT_FALSE(result.passed());
  bounds_of(parity)[3].floor = 0.01;
  clear[6] = outputs[6] = 1;
  EXPECT_TRUE(check_parity(parity, outputs, clear).passed());
}

TEST(Parity, WhereNothingMayBeWrongExactlyNothingPasses) {
  // A network without biases.
  const Manifest parity = classifier({{0.01, 0.005}, {0.01, 0.005}, {0, 0}});
  std::vector<double> oracle = kOracle;
  oracle.insert(oracle.end(), {0, 0});
  const std::vector<float> exact = {1, 0, 0, 1, 0, 0};
  const OutputResult result = check_parity(parity, exact, oracle);
  EXPECT_EQ(result.rows[2].worst().ratio(), 0);
  EXPECT_TRUE(result.passed());
  std::vector<float> wrong = exact;
  wrong[5] = 1e-30f;
  EXPECT_FALSE(check_parity(parity, wrong, oracle).passed());
}

TEST(Parity, LargeHostileOutputsDoNotHideInMaxAbs) {
  const Manifest parity = classifier(std::vector<Bound>(17, {0.1, 0}));
  std::vector<double> oracle(34, 0.0);
  std::vector<float> outputs(34, 0.0f);
  outputs[1] = 0.05f;
  outputs[33] = 0.2f;
  EXPECT_NEAR(check_parity(parity, outputs, oracle).max_abs, 0.05, 1e-8);
}

TEST(Parity, SizesMustFit) {
  for (const std::vector<float>& outputs :
       {std::vector<float>{1, 0}, {1, 0, 0}, {1, 0, 0, 1, 0, 0}}) {
    EXPECT_REFUSED(ExitCode::kBadArtifact, "golden.safetensors",
                   check_parity(two_rows(), outputs, kOracle));
  }
}

TEST(Parity, ARowPassesOnlyWhereEveryPartDoes) {
  // A ratio that rounds to 1 must not hide a part that is beyond its bound.
  RowResult row;
  row.whole = {0.1, 1};
  row.part = PartError{{1, 1}, 0, 0, true};
  row.within_bounds = false;
  EXPECT_FALSE(row.passed());
}

}  // namespace
}  // namespace zoo
