// zoo-run with several artifacts.
#include <signal.h>

#include "artifact/manifest.h"
#include "base/json.h"
#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::Outcome;
using testing::run_zoo;
using testing::TempFolder;
using testing::TinyNetwork;
using testing::write_network;

// The same answer, after two hundred products that change nothing.
TinyNetwork slow_network() {
  return {.body =
              "y = torch.flatten(x, 1)\n  for i in range(200):\n    y = y * 1.0\n"
              "  return y.matmul(self.w)"};
}

Json compare(const std::vector<std::string>& artifacts, std::vector<std::string> options = {}) {
  std::vector<std::string> arguments = artifacts;
  for (const char* each : {"--json", "-", "--threads", "1", "--rounds", "6", "--duration", "0.1"}) {
    arguments.emplace_back(each);
  }
  arguments.insert(arguments.end(), options.begin(), options.end());
  const Outcome outcome = run_zoo(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return Json::parse(outcome.out);
}

TEST(Compare, FindsTheSlowerOne) {
  const TempFolder one;
  const TempFolder other;
  write_network(one.path());
  write_network(other.path(), slow_network());
  const Json json = compare({one.path(), other.path()}, {"--batch", "2", "--seed", "3"});
  EXPECT_EQ(json["kind"], "comparison");
  EXPECT_EQ(json["seed"], 3);
  const Json& programs = json["programs"];
  ASSERT_EQ(programs.size(), 2u);
  EXPECT_TRUE(programs[0]["ratio"].is_null());
  EXPECT_EQ(programs[1]["ratio"]["verdict"], "slower") << programs[1]["ratio"];
  EXPECT_GT(programs[1]["ratio"]["interval"][0].get<double>(), 2);
  for (const Json& program : programs) {
    EXPECT_EQ(program["rounds_ms"].size(), 6u);
    EXPECT_EQ(program["batch"], 2);
    EXPECT_EQ(program["conditions"]["threads"], 1);
    EXPECT_EQ(program["verdict"], "VALID");
    EXPECT_GE(program["latency_ms"]["n"].get<int>(), 6 * 4 * 2);
    EXPECT_TRUE(program["latency_ms"]["median_interval"].is_array());
  }
  EXPECT_EQ(compare({other.path(), one.path(), one.path()})["programs"][2]["ratio"]["verdict"],
            "faster");
}

TEST(Compare, SaysItToPeople) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo(
      {folder.path(), folder.path(), "--rounds", "6", "--duration", "0.1", "--threads", "1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* part : {"2 programs, 6 rounds, batch 1, 1 thread, seed 0", "A  /", "B  /"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << outcome.out;
  }
}

TEST(Compare, AnOutputThatChangesIsNoFigure) {
  const TempFolder folder;
  write_network(folder.path(),
                {.body = "return torch.flatten(x, 1).matmul(self.w) + torch.rand([1])"});
  const Json program = compare({folder.path(), folder.path()})["programs"][1];
  EXPECT_EQ(program["verdict"], "INVALID");
  EXPECT_EQ(program["reasons"][0], "its output changed between two calls");
}

TEST(Compare, ARefusalIsThatOfTheArtifact) {
  const TempFolder good;
  const TempFolder bad;
  const TempFolder failed;
  write_network(good.path());
  write_network(failed.path(), {.status = "accepted"});
  testing::expect_refusal({good.path(), bad.path()}, 3, bad.path());
  testing::expect_refusal({good.path(), failed.path()}, 3, failed.path() + ": ");
  testing::expect_refusal({good.path(), good.path(), "--device", "cuda"}, 3, "built for cpu");
}

TEST(Compare, OneBatchForAll) {
  const TempFolder one;
  const TempFolder other;
  write_network(one.path());
  write_network(other.path(), {.min_batch = 4});
  testing::expect_refusal({one.path(), other.path()}, 2, "give --batch");
  EXPECT_EQ(compare({one.path(), other.path()}, {"--batch", "4"})["programs"][0]["batch"], 4);
}

TEST(Compare, LeavesNothingBehindWhenItIsStopped) {
  const TempFolder folder;
  write_network(folder.path());
  const std::vector<std::string> arguments = {folder.path(), folder.path(), "--duration", "60"};
  EXPECT_EQ(testing::signal_zoo(arguments, SIGTERM).exit_code, 143);
}

}  // namespace
}  // namespace zoo
