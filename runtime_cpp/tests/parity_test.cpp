#include "measure/parity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fixtures.h"

namespace zoo {
namespace {

// Two rows of two classes; the bound is 2 * 0.01 + 0.005 = 0.025.
Parity two_rows() {
  Parity parity;
  parity.k = 2;
  parity.samples = {{"real", 0.01, 0.005}, {"normal", 0.01, 0.005}};
  return parity;
}
const std::vector<double> kOracle = {1, 0, 0, 1};

TEST(Parity, PassesWithinTheBound) {
  const std::vector<float> outputs = {1.0f, 0.03f, 0.0f, 1.0f};
  const CheckResult result = check_parity(two_rows(), outputs, kOracle);
  EXPECT_NEAR(result.rows[0].rmse, 0.03 / std::sqrt(2.0), 1e-8);
  EXPECT_DOUBLE_EQ(result.rows[0].bound, 0.025);
  EXPECT_TRUE(result.passed());
  EXPECT_EQ(result.num_decided, 2);
  EXPECT_EQ(result.num_agreed, 2);
  EXPECT_NEAR(result.max_abs, 0.03, 1e-8);
}

TEST(Parity, FailsBeyondTheBound) {
  const std::vector<float> outputs = {1.0f, 0.04f, 0.0f, 1.0f};
  const CheckResult result = check_parity(two_rows(), outputs, kOracle);
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
  const CheckResult result = check_parity(two_rows(), std::vector<float>{nan, 0.5f, 0, 1}, oracle);
  EXPECT_FALSE(result.rows[0].decided);
  EXPECT_FALSE(result.rows[0].passed());
  EXPECT_FALSE(result.passed());
}

TEST(Parity, TheMostLikelyClassMustAgreeWhereTheOracleIsSure) {
  Parity parity = two_rows();
  parity.k = 0;
  parity.samples[0].floor = 0.2;  // margin 0.9 > 0.8: decided
  parity.samples[1].floor = 0.2;
  const std::vector<double> oracle = {0.9, 0, 0, 0.9};
  EXPECT_TRUE(check_parity(parity, std::vector<float>{0.9f, 0, 0, 0.9f}, oracle).passed());
  parity.samples[0].floor = 0.225;  // margin 0.9, not more than 4 * 0.225
  const CheckResult close = check_parity(parity, std::vector<float>{0.9f, 0, 0, 0.9f}, oracle);
  EXPECT_EQ(close.num_decided, 1);
  EXPECT_TRUE(close.passed());
}

TEST(Parity, ADifferentClassFailsWithinTheBound) {
  // 1000 classes dilute one swapped pair: the error is small, the answer is wrong.
  Parity parity;
  parity.k = 1;
  parity.samples = {{"real", 0.05, 0}};
  std::vector<double> oracle(1000, 0.0);
  std::vector<float> outputs(1000, 0.0f);
  oracle[3] = 1.0;
  outputs[3] = 0.4f;
  outputs[4] = 0.5f;
  const CheckResult result = check_parity(parity, outputs, oracle);
  EXPECT_TRUE(result.rows[0].within_bound);
  EXPECT_TRUE(result.rows[0].decided);
  EXPECT_FALSE(result.passed());
}

TEST(Parity, WhatHasNoClassesNeedDecideNone) {
  Parity parity = two_rows();
  parity.has_classes = false;
  const CheckResult result = check_parity(parity, std::vector<float>{1, 0, 0, 1}, kOracle);
  EXPECT_EQ(result.num_decided, 0);
  EXPECT_TRUE(result.passed());
  EXPECT_FALSE(check_parity(parity, std::vector<float>{1, 1, 0, 1}, kOracle).passed());
}

TEST(Parity, DecidingNoneProvesNothing) {
  Parity parity = two_rows();
  parity.samples[0].floor = parity.samples[1].floor = 10;
  const CheckResult result = check_parity(parity, std::vector<float>{1, 0, 0, 1}, kOracle);
  EXPECT_EQ(result.num_decided, 0);
  EXPECT_FALSE(result.passed());
}

TEST(Parity, AHostileRowAloneDecidesNothing) {
  Parity parity;
  parity.k = 1;
  parity.samples.assign(16, {"normal", 0, 10});  // too wide to decide a class
  parity.samples.push_back({"zeros", 0, 0.01});
  const std::vector<double> oracle(34, 0.0);
  std::vector<double> clear = oracle;
  clear[32] = 1;
  std::vector<float> outputs(34, 0.0f);
  outputs[32] = 1;
  const CheckResult result = check_parity(parity, outputs, clear);
  EXPECT_EQ(result.num_decided, 1);
  EXPECT_FALSE(result.passed());
  parity.samples[3].floor = 0.01;
  clear[6] = outputs[6] = 1;
  EXPECT_TRUE(check_parity(parity, outputs, clear).passed());
}

TEST(Parity, WhereNothingMayBeWrongExactlyNothingPasses) {
  Parity parity = two_rows();
  parity.samples.push_back({"zeros", 0, 0});  // a network without biases
  std::vector<double> oracle = kOracle;
  oracle.insert(oracle.end(), {0, 0});
  const std::vector<float> exact = {1, 0, 0, 1, 0, 0};
  const CheckResult result = check_parity(parity, exact, oracle);
  EXPECT_EQ(result.rows[2].ratio(), 0);
  EXPECT_TRUE(result.passed());
  std::vector<float> wrong = exact;
  wrong[5] = 1e-30f;
  EXPECT_FALSE(check_parity(parity, wrong, oracle).passed());
}

TEST(Parity, LargeHostileOutputsDoNotHideInMaxAbs) {
  Parity parity;
  parity.k = 2;
  parity.samples.assign(17, {"normal", 0.1, 0});
  std::vector<double> oracle(34, 0.0);
  std::vector<float> outputs(34, 0.0f);
  outputs[1] = 0.05f;
  outputs[33] = 0.2f;
  EXPECT_NEAR(check_parity(parity, outputs, oracle).max_abs, 0.05, 1e-8);
}

TEST(Parity, SizesMustFit) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, "golden.safetensors",
                 check_parity(two_rows(), std::vector<float>{1, 0, 0}, kOracle));
}

}  // namespace
}  // namespace zoo
