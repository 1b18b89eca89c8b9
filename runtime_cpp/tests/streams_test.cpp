// Engines that cheat, through the streams of a real run: each must be found out.
#include "streams.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "fixtures.h"
#include "measure/conduct.h"

namespace zoo {
namespace {

// Some work on an input of (1, 4).
class Honest : public Engine {
 public:
  std::vector<at::Tensor> run(const at::Tensor& input) override {
    at::Tensor x = input.expand({96, 4}).repeat({1, 24});
    for (int i = 0; i < 4; ++i) x = at::tanh(x.matmul(weights_));
    return {x.narrow(0, 0, 1).clone()};
  }
  bool is_shared() const override { return true; }

 private:
  at::Tensor weights_ = at::linspace(-1, 1, 96 * 96).sin().reshape({96, 96});
};

class WrongOnce final : public Honest {
 public:
  std::vector<at::Tensor> run(const at::Tensor& input) override {
    std::vector<at::Tensor> outputs = Honest::run(input);
    if (++calls_ == 50) outputs[0].mutable_data_ptr<float>()[7] += 1e-6f;
    return outputs;
  }

 private:
  std::atomic<int> calls_{0};
};

class Caching final : public Honest {
 public:
  std::vector<at::Tensor> run(const at::Tensor& input) override {
    const uint64_t key = hash_outputs({input});
    const std::lock_guard lock(mutex_);
    const auto kept = answers_.find(key);
    if (kept != answers_.end()) return kept->second;
    return answers_[key] = Honest::run(input);
  }

 private:
  std::mutex mutex_;
  std::map<uint64_t, std::vector<at::Tensor>> answers_;
};

class Alone final : public Honest {
 public:
  bool is_shared() const override { return false; }
};

Manifest manifest() {
  Manifest manifest;
  manifest.backend = "stub";
  return manifest;
}

std::vector<Sample> checked_samples() {
  const c10::InferenceMode no_gradients;
  Honest engine;
  std::vector<Sample> samples;
  for (int i = 0; i < 4; ++i) {
    const at::Tensor input = at::full({1, 4}, 0.25 * i).contiguous();
    samples.push_back({input, hash_outputs(engine.run(input))});
  }
  return samples;
}

ScenarioResult conducted(Engine& engine, size_t streams) {
  at::set_num_threads(1);
  Streams system(manifest(), engine, checked_samples(), streams, 1, {});
  Team team(streams, [&](size_t stream) { system.enter(stream); });
  const ScenarioPlan plan{.scenario = Scenario::kOffline, .warmup = 5, .iterations = 200};
  return conduct(team, system, plan, real_clocks());
}

bool has_reason(const ScenarioResult& result, const std::string& part) {
  for (const std::string& reason : result.reasons) {
    if (reason.find(part) != std::string::npos) return true;
  }
  return false;
}

TEST(Streams, AnHonestEngineAnswersAsChecked) {
  for (const size_t streams : {1u, 2u}) {
    Honest engine;
    const ScenarioResult result = conducted(engine, streams);
    EXPECT_EQ(result.run.calls, 200);
    EXPECT_EQ(result.warmup.calls, static_cast<int64_t>(5 * streams));
    EXPECT_EQ(result.run.wrong + result.warmup.wrong + result.repetition.wrong, 0);
    ASSERT_TRUE(result.repetition.ratio);
    EXPECT_GT(result.repetition.ratio->value, 0.5);
  }
}

TEST(Streams, AnEngineThatIsWrongInThe50thCallIsFound) {
  for (const size_t streams : {1u, 2u}) {
    WrongOnce engine;
    const ScenarioResult result = conducted(engine, streams);
    EXPECT_EQ(result.run.wrong, 1);
    EXPECT_TRUE(has_reason(result, "answers differ from those that were checked"));
  }
}

TEST(Streams, AnEngineThatKeepsItsAnswersIsFound) {
  Caching engine;
  const ScenarioResult result = conducted(engine, 1);
  EXPECT_EQ(result.run.wrong, 0);
  EXPECT_TRUE(has_reason(result, "the program keeps answers"));
  EXPECT_LT(result.repetition.ratio->value, 0.7);
}

TEST(Streams, AnEngineThatCannotBeSharedServesOneStream) {
  Alone engine;
  EXPECT_EQ(conducted(engine, 1).run.wrong, 0);
  EXPECT_REFUSED(ExitCode::kMachineLacks,
                 "2 streams cannot share the engine of stub: give --streams 1",
                 conducted(engine, 2));
}

TEST(Streams, FilledInputsNeverRepeat) {
  for (const at::ScalarType type : {at::kFloat, at::kByte}) {
    struct Seen final : public Engine {
      std::vector<at::Tensor> run(const at::Tensor& input) override {
        inputs.push_back(hash_outputs({input}));
        return {input.to(at::kFloat)};
      }
      std::vector<uint64_t> inputs;
    } engine;
    std::vector<Sample> samples(2);
    for (Sample& sample : samples) sample.input = at::zeros({1, 2, 2, 2}, type);
    Streams system(manifest(), engine, samples, 1, 1, {});
    for (const uint64_t salt : {0, 0, 1, 2, 1 << 20, 1 << 21}) {
      system.fill(0, salt);
      system.call(0, System::kFilled);
    }
    EXPECT_EQ(engine.inputs[0], engine.inputs[1]);
    std::ranges::sort(engine.inputs);
    const auto repeated = std::ranges::unique(engine.inputs);
    EXPECT_EQ(repeated.size(), 1u);
  }
}

}  // namespace
}  // namespace zoo
