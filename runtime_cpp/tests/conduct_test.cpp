// From the warm-up to the verdict, on a clock that only calls move on.
#include "measure/conduct.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/hash.h"
#include "fixtures.h"

namespace zoo {
namespace {

std::atomic<int64_t> g_now{0};
Clocks fake_clocks() {
  return {[] { return g_now.load(); }, [] { return g_now.load(); }};
}

constexpr int64_t kCallNs = 1'000'000;

// One stream. It may answer one call wrong, or keep what it was asked.
class Fake final : public System {
 public:
  size_t streams() const override { return 1; }
  size_t samples() const override { return 4; }
  void enter(size_t) override {}
  void call(size_t, size_t sample) override {
    const uint64_t input = sample == kFilled ? filled_ : sample;
    const bool kept = keeps_answers && !seen_.insert(input).second;
    g_now += kept ? kCallNs / 10 : kCallNs;
    answer_ = input + (++calls == wrong_call ? 1 : 0);
  }
  bool is_right(size_t, size_t sample) override { return answer_ == sample; }
  void fill(size_t sample, uint64_t salt) override { filled_ = sample + 1000 * salt; }

  bool keeps_answers = false;
  int64_t wrong_call = 0;
  int64_t calls = 0;

 private:
  std::set<uint64_t> seen_;
  uint64_t filled_ = 0;
  uint64_t answer_ = 0;
};

ScenarioResult run(Fake& system, const ScenarioPlan& plan, const Clocks& clocks = fake_clocks()) {
  Team team(1, [](size_t) {});
  return conduct(team, system, plan, clocks);
}

const ScenarioPlan kOffline{.scenario = Scenario::kOffline, .iterations = 100};

TEST(Conduct, AnHonestSystemIsValid) {
  for (const Scenario scenario : {Scenario::kMultiStream, Scenario::kOffline}) {
    Fake system;
    const ScenarioResult result = run(system, {.scenario = scenario, .iterations = 100});
    EXPECT_EQ(result.reasons, std::vector<std::string>{});
    EXPECT_EQ(result.run.samples_ns, std::vector<int64_t>(100, kCallNs));
    EXPECT_EQ(result.warmup.steady_ns, 1000 * kCallNs);  // ten calls and a second
    ASSERT_TRUE(result.repetition.ratio);
    EXPECT_EQ(result.repetition.ratio->value, 1);
    EXPECT_EQ(result.repetition.wrong, 0);
  }
}

bool is_found(int64_t wrong_call) {
  Fake system;
  system.wrong_call = wrong_call;
  const ScenarioResult result = run(system, kOffline);
  const std::string text = "1 of 1650 answers differ from those that were checked";
  EXPECT_LE(result.reasons.size(), 1u);
  return result.reasons == std::vector<std::string>{text};
}

TEST(Conduct, OneWrongAnswerMakesItInvalid) {
  EXPECT_TRUE(is_found(50));    // of the warm-up
  EXPECT_TRUE(is_found(1050));  // of the run
  // Of the first two turns of 50 calls, one repeats a sample. Nobody knows the answers to new ones.
  EXPECT_NE(is_found(1125), is_found(1175));
}

TEST(Conduct, KeptAnswersMakeItInvalid) {
  Fake system;
  system.keeps_answers = true;
  const ScenarioResult result = run(system, kOffline);
  ASSERT_EQ(result.reasons.size(), 1u);
  EXPECT_NE(result.reasons[0].find("a repeated sample takes 0.100 of the time of new ones"),
            std::string::npos)
      << result.reasons[0];
}

TEST(Conduct, WarmsUpAtLeastOnce) {
  Fake system;
  ScenarioPlan plan = kOffline;
  plan.warmup = 0;
  EXPECT_EQ(run(system, plan).warmup.calls, 1);
}

TEST(Conduct, AServerMustKeepItsBound) {
  Fake system;  // its calls take no time on the real clock, which the arrivals go by
  ScenarioPlan plan{
      .scenario = Scenario::kServer, .warmup = 1, .iterations = 1000, .rate = 1e5, .p99_ms = 1000};
  const ScenarioResult kept = run(system, plan, real_clocks());
  EXPECT_EQ(kept.run.samples_ns.size(), 1000u);
  EXPECT_EQ(kept.rate, 1e5);
  EXPECT_TRUE(kept.search.empty());
  const auto of_bound = [](const ScenarioResult& result, const std::string& part) {
    return std::ranges::any_of(result.reasons, [&](const std::string& reason) {
      return reason.find(part) != std::string::npos;
    });
  };
  EXPECT_FALSE(of_bound(kept, "it must lie under"));
  plan.p99_ms = 1e-6;
  EXPECT_TRUE(of_bound(run(system, plan, real_clocks()), "it must lie under 1e-06 ms"));
  plan.iterations = 999;
  EXPECT_TRUE(of_bound(run(system, plan, real_clocks()), "999 queries are too few for a p99"));
}

TEST(Conduct, AServerLooksForItsRate) {
  Fake system;
  const ScenarioPlan plan{
      .scenario = Scenario::kServer, .warmup = 100, .iterations = 1000, .p99_ms = 1e-6};
  const ScenarioResult result = run(system, plan, real_clocks());
  EXPECT_EQ(result.search.size(), 5u);
  EXPECT_EQ(result.search.front().rate_per_s, 2 * result.search[1].rate_per_s);
  EXPECT_NE(result.reasons.front().find("no rate that passes twice"), std::string::npos);
}

TEST(Hash, EveryBitCounts) {
  const std::string text = "twelve bytes";
  const uint64_t hash = mix_bytes(1, testing::as_bytes(text));
  EXPECT_EQ(hash, mix_bytes(1, testing::as_bytes(text)));
  EXPECT_NE(hash, mix_bytes(2, testing::as_bytes(text)));
  for (size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string other = text;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
    EXPECT_NE(hash, mix_bytes(1, testing::as_bytes(other))) << bit;
  }
  EXPECT_NE(mix_bytes(1, testing::as_bytes("a")),
            mix_bytes(1, testing::as_bytes(std::string("a\0", 2))));
}

}  // namespace
}  // namespace zoo
