// zoo-run --scenario as a user runs it.
#include <algorithm>
#include <sstream>

#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::Outcome;
using testing::run_zoo;
using testing::TempFolder;
using testing::write_network;

// A network with enough to do that a call can be timed.
const testing::TinyNetwork kNetwork{.max_batch = 8};

Json json_of(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--json", "-", "--warmup", "5"});
  const Outcome outcome = run_zoo(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.exit_code == 0 ? Json::parse(outcome.out) : Json();
}

TEST(RunScenario, TheDefaultIsSingleStream) {
  const TempFolder folder;
  write_network(folder.path());
  EXPECT_EQ(json_of({folder.path(), "--iterations", "20"})["scenario"], "single-stream");
  const Json asked = json_of({folder.path(), "--iterations", "20", "--scenario", "single-stream"});
  EXPECT_EQ(asked["scenario"], "single-stream");
  EXPECT_TRUE(asked.contains("output_stable"));
}

TEST(RunScenario, SeveralStreamsShareOneProgram) {
  const TempFolder folder;
  write_network(folder.path(), kNetwork);
  for (const std::string scenario : {"multi-stream", "offline"}) {
    const Json json = json_of({folder.path(), "--scenario", scenario, "--streams", "2", "--threads",
                               "2", "--iterations", "60", "--batch", "4"});
    EXPECT_EQ(json["scenario"], scenario);
    EXPECT_EQ(json["streams"], 2);
    EXPECT_EQ(json["threads_per_stream"], 1);
    EXPECT_EQ(json["conditions"]["threads"], 2);
    EXPECT_GE(json["queries"].get<int>(), 60);
    EXPECT_EQ(json["samples_per_query"], scenario == "offline" ? 4 : 8);
    EXPECT_EQ(json["answers"]["wrong"], 0);
    EXPECT_GT(json["answers"]["checked"].get<int>(), 60);
    EXPECT_TRUE(json["repetition"].contains("ratio"));
    EXPECT_EQ(json["throughput_per_s"].is_number(), scenario == "offline");
  }
}

TEST(RunScenario, AServerIsGivenItsRateOrLooksForIt) {
  const TempFolder folder;
  write_network(folder.path());
  const std::vector<std::string> server = {folder.path(), "--scenario", "server",
                                           "--p99-ms",    "60000",      "--iterations",
                                           "1000",        "--threads",  "1"};
  std::vector<std::string> given = server;
  given.insert(given.end(), {"--rate", "5000"});
  const Json fixed = json_of(given);
  EXPECT_EQ(fixed["rate_per_s"], 5000);
  EXPECT_EQ(fixed["queries"], 1000);
  EXPECT_EQ(fixed["p99_bound_ms"], 60000);
  EXPECT_TRUE(fixed["latency_ms"]["p99"].is_number());
  EXPECT_TRUE(fixed["search"].empty());

  const Json searched = json_of(server);
  EXPECT_GE(searched["search"].size(), 12u);  // this bound holds at every rate
  EXPECT_LE(searched["search"].size(), 20u);
  EXPECT_EQ(searched["search"].back()["confirms"], true);
  EXPECT_EQ(searched["search"].back()["rate_per_s"], searched["rate_per_s"]);
}

TEST(RunScenario, ABoundThatIsNotKeptIsInvalid) {
  const TempFolder folder;
  write_network(folder.path());
  const std::vector<std::string> server = {
      folder.path(),  "--scenario", "server",   "--p99-ms", "0.001",    "--rate", "2000",
      "--threads",    "1",          "--warmup", "5",        "--strict", "--json", "-",
      "--iterations", "1000"};
  const Outcome outcome = run_zoo(server);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["verdict"], "INVALID");
  const bool named = std::ranges::any_of(json["reasons"], [](const Json& reason) {
    return reason.get<std::string>().find("must lie under 0.001 ms") != std::string::npos;
  });
  EXPECT_TRUE(named) << json["reasons"];
}

TEST(RunScenario, AProgramThatFailsItsProofIsInvalid) {
  const TempFolder folder;
  write_network(folder.path(), {.weight_error = 1e-2f});
  const Json json = json_of({folder.path(), "--scenario", "offline", "--iterations", "20"});
  EXPECT_EQ(json["verdict"], "INVALID");
  EXPECT_EQ(json["reasons"][0], "the outputs fail the proof: see --check");
}

TEST(RunScenario, AnAnswerThatChangesIsFound) {
  const TempFolder folder;
  write_network(folder.path(),
                {.body = "return torch.flatten(x, 1).matmul(self.w) + 1e-9 * torch.rand(1)"});
  const Json json = json_of({folder.path(), "--scenario", "offline", "--iterations", "50"});
  EXPECT_EQ(json["verdict"], "INVALID");
  EXPECT_GT(json["answers"]["wrong"].get<int>(), 0);
}

TEST(RunScenario, ThePageFitsInSixtyColumns) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo({folder.path(), "--scenario", "multi-stream", "--streams", "2",
                                   "--iterations", "50", "--warmup", "5"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 60u) << line;
  EXPECT_NE(outcome.out.find("scenario     multi-stream"), std::string::npos) << outcome.out;
}

}  // namespace
}  // namespace zoo
