// zoo-run as a user runs it: a process, its exit code, what it prints.
#include <ATen/ATen.h>
#include <signal.h>
#include <torch/version.h>

#include <algorithm>

#include "artifact/manifest.h"
#include "base/version.h"
#include "measure/measure.h"
#include "measure/stats.h"
#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::Outcome;
using testing::read_file;
using testing::run_zoo;
using testing::TempFolder;
using testing::TinyNetwork;
using testing::write_network;

TEST(Run, MeasuresAndSaysHow) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo({folder.path(), "--iterations", "200", "--threads", "1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("median"), std::string::npos) << outcome.out;
}

TEST(Run, ReportsInJsonWhatItMeasured) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo(
      {folder.path(), "--iterations", "50", "--json", "-", "--threads", "1", "--batch", "3"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  const auto samples = json["samples_ns"].get<std::vector<int64_t>>();
  EXPECT_EQ(samples.size(), 50u);
  EXPECT_EQ(json["batch"], 3);
  EXPECT_EQ(json["conditions"]["threads"], 1);
  EXPECT_EQ(json["output_stable"], true);
  const Summary summary = summarize(samples, {});
  EXPECT_DOUBLE_EQ(json["latency_ms"]["median"].get<double>(),
                   static_cast<double>(summary.median) / 1e6);
}

TEST(Run, ChecksAgainstTheOracle) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo({folder.path(), "--check"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("PASSED: 16 of 16 rows"), std::string::npos) << outcome.out;
}

TEST(Run, CheckFindsPlantedFaults) {
  const auto code = [](const TinyNetwork& network) {
    const TempFolder folder;
    write_network(folder.path(), network);
    const Outcome outcome = run_zoo({folder.path(), "--check", "--json", "-"});
    EXPECT_EQ(Json::parse(outcome.out)["check"]["verdict"],
              outcome.exit_code == 0 ? "PASSED" : "FAILED");
    return outcome.exit_code;
  };
  EXPECT_EQ(code({}), 0);
  EXPECT_EQ(code({.min_batch = 5, .max_batch = 5}), 0);
  EXPECT_EQ(code({.min_batch = 32, .max_batch = 32}), 0);
  EXPECT_EQ(code({.weight_error = 1e-4f}), 1);
  EXPECT_EQ(code({.oracle_error = 1e-5}), 1);
  EXPECT_EQ(code({.body = "return torch.flatten(x, 1).matmul(self.w) * float('nan')"}), 1);
  EXPECT_EQ(code({.body = "return torch.flatten(x, 1).matmul(self.w) / 0"}), 1);
}

TEST(Run, ChecksTheHostileRowsToo) {
  const TempFolder folder;
  write_network(folder.path(), {.hostile_rows = 3, .max_batch = 8});
  const Outcome outcome = run_zoo({folder.path(), "--check"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("PASSED: 19 of 19 rows"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("hot pixel"), std::string::npos) << outcome.out;

  for (const int64_t row : {16, 18}) {  // zeros, of which nothing may be wrong, and the last
    write_network(folder.path(), {.oracle_error = 1e-4, .wrong_row = row, .hostile_rows = 3});
    const Outcome wrong = run_zoo({folder.path(), "--check", "--json", "-"});
    EXPECT_EQ(wrong.exit_code, 1) << wrong.out << wrong.err;
    const Json samples = Json::parse(wrong.out)["check"]["samples"];
    for (size_t i = 0; i < samples.size(); ++i) {
      EXPECT_EQ(samples[i]["passed"].get<bool>(), i != static_cast<size_t>(row)) << i;
    }
  }
}

TEST(Run, RefusesAGoldenFileWithoutAllRows) {
  const TempFolder folder;
  write_network(folder.path(), {.hostile_rows = 3});
  Json manifest = Json::parse(read_file(folder / "manifest.json"));
  manifest["parity"]["samples"].erase(18);
  manifest["parity"]["outputs"][0]["bounds"].erase(18);
  testing::write_manifest(folder.path(), manifest.dump());
  testing::expect_refusal({folder.path(), "--check"}, 3,
                          "is F32 [19, 1, 2, 2], the manifest wants F32 [18, 1, 2, 2]");
}

TEST(Run, WritesOutputsThatEqualTheProgramsOwn) {
  const TempFolder folder;
  const TempFolder results;
  write_network(folder.path());
  const at::Tensor input = at::arange(520, at::kFloat).reshape({130, 4});
  const at::Tensor wanted = input.matmul(at::linspace(-1, 1, 12).reshape({4, 3}));
  for (const char* x : {"x.npy", "x.safetensors"}) {
    testing::write_counting(folder / x, {130, 1, 2, 2});  // two calls of 64 and one of 2
    for (const char* y : {"y.npy", "y.safetensors"}) {
      const Outcome outcome =
          run_zoo({folder.path(), "--input", folder / x, "--output", results / y});
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
      const at::Tensor output = testing::read_tensor(results / y);
      EXPECT_EQ(output.sizes(), wanted.sizes());
      EXPECT_TRUE(at::allclose(output, wanted));
    }
  }
  EXPECT_NE(read_file(results / "y.safetensors").find("\"y\""), std::string::npos);
}

TEST(Run, OutputsNeedNotBeOfClasses) {
  const TempFolder folder;
  const TempFolder results;
  TinyNetwork network;
  network.body = "return torch.flatten(x, 1).matmul(self.w).reshape(-1, 3, 1)";
  network.more = {{"y", {3, 1}, [](const at::Tensor& y) { return y; }}};
  network.only_more = true;
  write_network(folder.path(), network);
  const Outcome check = run_zoo({folder.path(), "--check"});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  testing::write_counting(folder / "x.npy", {5, 1, 2, 2});
  const Outcome run =
      run_zoo({folder.path(), "--input", folder / "x.npy", "--output", results / "y.npy"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("5 rows in all"), std::string::npos) << run.out;
  EXPECT_EQ(testing::read_tensor(results / "y.npy").sizes(), (std::vector<int64_t>{5, 3, 1}));
}

// One program exact for batch 1 alone, one with a fault for every batch: which one ran shows.
TEST(Run, OfOverlappingProgramsTheFirstThatAnswersRuns) {
  const TempFolder one;
  const TempFolder many;
  const TempFolder folder;
  const TempFolder results;
  write_network(one.path(), {.weight_error = 1e-4f});
  write_network(many.path());
  Json manifest = Json::parse(read_file(many / "manifest.json"));
  manifest["programs"] = {{{"file", "one.ts"}, {"batch", {1, 1}}, {"entry", nullptr}},
                          {{"file", "many.ts"}, {"batch", {1, 64}}, {"entry", nullptr}}};
  testing::write_artifact(folder.path(), manifest,
                          {{"one.ts", read_file(one / "model.ts")},
                           {"many.ts", read_file(many / "model.ts")},
                           {kGoldenFile, read_file(many / kGoldenFile)}});
  EXPECT_EQ(run_zoo({folder.path(), "--check", "--batch", "1"}).exit_code, 1);
  EXPECT_EQ(run_zoo({folder.path(), "--check", "--batch", "2"}).exit_code, 0);
  const Outcome all = run_zoo({folder.path(), "--check"});
  EXPECT_EQ(all.exit_code, 1);
  EXPECT_NE(all.out.find("one.ts, batch 1: FAILED"), std::string::npos) << all.out;
  EXPECT_NE(all.out.find("many.ts, batch 16: PASSED"), std::string::npos) << all.out;

  const auto exact = [&](int64_t rows) {
    testing::write_counting(folder / "x.npy", {rows, 1, 2, 2});
    const Outcome outcome =
        run_zoo({folder.path(), "--input", folder / "x.npy", "--output", results / "y.npy"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const at::Tensor output = testing::read_tensor(results / "y.npy");
    const at::Tensor input = at::arange(rows * 4, at::kFloat).reshape({rows, 4});
    const at::Tensor wanted = input.matmul(at::linspace(-1, 1, 12).reshape({4, 3}));
    return (output - wanted).abs().amax(1) < 1e-4;  // row by row
  };
  EXPECT_FALSE(exact(1)[0].item<bool>());
  EXPECT_TRUE(exact(3).all().item<bool>());
  const at::Tensor rows = exact(65);  // one call of 64, then the program for one row
  EXPECT_TRUE(rows.narrow(0, 0, 4).all().item<bool>());
  EXPECT_FALSE(rows[64].item<bool>());
}

TEST(Run, WhatIsNotMeasuredIsNotLoaded) {
  const TempFolder folder;
  write_network(folder.path());
  Json manifest = Json::parse(read_file(folder / "manifest.json"));
  manifest["programs"].push_back({{"file", "bad.ts"}, {"batch", {1, 99}}, {"entry", nullptr}});
  testing::write_artifact(folder.path(), manifest,
                          {{"model.ts", read_file(folder / "model.ts")},
                           {"bad.ts", testing::make_zip({{"bad/data.pkl", "none"}})},
                           {kGoldenFile, read_file(folder / kGoldenFile)}});
  EXPECT_EQ(run_zoo({folder.path(), "--batch", "64", "--iterations", "1"}).exit_code, 0);
  testing::expect_refusal({folder.path(), "--batch", "65", "--iterations", "1"}, 3, "bad.ts");
  testing::expect_refusal({folder.path(), "--check"}, 3, "bad.ts");
}

TEST(Run, BytesGoInAsTheyAre) {
  const TempFolder folder;
  write_network(folder.path(), {.body = "return torch.flatten(x.float() / 255, 1).matmul(self.w)",
                                .byte_input = true});
  EXPECT_EQ(run_zoo({folder.path(), "--check"}).exit_code, 0);
  EXPECT_EQ(run_zoo({folder.path(), "--iterations", "1"}).exit_code, 0);
  const auto run = [&](const at::Tensor& input) {
    testing::write_tensor(folder / "x.npy", input);
    return run_zoo({folder.path(), "--input", folder / "x.npy"});
  };
  EXPECT_EQ(run(at::full({3, 2, 2, 1}, 200, at::kByte)).exit_code, 0);
  const Outcome floats = run(at::ones({3, 2, 2, 1}));
  EXPECT_EQ(floats.exit_code, 3);
  EXPECT_NE(floats.err.find("takes uint8 [N, 2, 2, 1]; give uint8 (N, H, W, C)"), std::string::npos)
      << floats.err;
  EXPECT_EQ(run(at::ones({3, 1, 2, 2}, at::kByte)).exit_code, 3);
}

TEST(Run, CudaGraphsAreForGpus) {
  const TempFolder folder;
  write_network(folder.path());
  testing::expect_refusal({folder.path(), "--cuda-graph"}, 2, "built for cpu");
}

TEST(Run, SaysWhatItCanDo) {
  const Outcome outcome = run_zoo({"--capabilities"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["version"], kVersion);
  EXPECT_EQ(json["commit"], kCommit);
  EXPECT_EQ(json["torch"], TORCH_VERSION);
  EXPECT_EQ(json["schema"], kSchemaMajor);
  EXPECT_EQ(json["defaults"]["iterations"], kDefaultIterations);
  EXPECT_EQ(json["defaults"]["warmup_s"], kDefaultWarmupS);
  EXPECT_TRUE(json["allocator"]["library"].get<std::string>().starts_with("/"));
  EXPECT_FALSE(json["cuda"]["torch"].is_null());
  std::vector<std::string> backends;
  for (const Json& engine : json["engines"]) {
    backends.push_back(engine["backend"]);
    if (engine["backend"] == "tensorrt") {
      EXPECT_EQ(engine["files"], (Json{".pt2", ".ts"}));
    }
  }
  EXPECT_EQ(std::ranges::count(backends, "torchscript"), 1);
  EXPECT_EQ(std::ranges::count(backends, "tensorrt"), 1);
}

TEST(Run, StopsOnSignalsAndLeavesNothing) {
  const TempFolder folder;
  const TempFolder results;
  write_network(folder.path());
  const std::vector<std::string> forever = {folder.path(), "--duration", "3600", "--json",
                                            results / "r.json"};
  EXPECT_EQ(testing::signal_zoo(forever, SIGINT).exit_code, 130);
  EXPECT_EQ(testing::signal_zoo(forever, SIGTERM).exit_code, 143);
  EXPECT_FALSE(std::filesystem::exists(results / "r.json"));
}

TEST(Run, StrictFailsOnAnInvalidMeasurement) {
  const TempFolder folder;
  write_network(folder.path());
  EXPECT_EQ(run_zoo({folder.path(), "--iterations", "3", "--strict"}).exit_code, 1);
  const Outcome lax = run_zoo({folder.path(), "--iterations", "3"});
  EXPECT_EQ(lax.exit_code, 0);
  EXPECT_NE(lax.out.find("INVALID"), std::string::npos);
}

}  // namespace
}  // namespace zoo
