// What zoo-run does with an artifact whose proof failed, or was not made yet.
#include <algorithm>

#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::Outcome;
using testing::read_file;
using testing::run_zoo;
using testing::TempFolder;
using testing::write_network;

TEST(RunProof, WhatFailedRunsWhereThatIsAccepted) {
  const TempFolder folder;
  const TempFolder results;
  write_network(folder.path(), {.status = "accepted"});
  testing::expect_refusal({folder.path(), "--iterations", "1"}, 3, "--accept-error");
  EXPECT_EQ(run_zoo({folder.path(), "--iterations", "1", "--accept-error"}).exit_code, 0);
  std::vector<std::string> check = {folder.path(), "--check", "--json", results / "r.json"};
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome = run_zoo(check);
    EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
    EXPECT_NE(outcome.out.find("FAILED: status accepted"), std::string::npos) << outcome.out;
    EXPECT_EQ(Json::parse(read_file(results / "r.json"))["check"]["verdict"], "FAILED");
    check.emplace_back("--accept-error");  // which changes nothing
  }
}

TEST(RunProof, APendingArtifactRunsOnceItsProofPassedHere) {
  const TempFolder place;
  const std::string folder = place / "a";
  const std::string proof = place / "proof-a.json";
  const std::vector<std::string> run = {folder, "--iterations", "1"};
  std::filesystem::create_directory(folder);
  write_network(folder, {.weight_error = 1e-4f, .status = "pending"});
  testing::expect_refusal(run, 3, "has not been proved on this machine");
  std::vector<std::string> turns = run;
  turns.emplace_back("--turns");  // so a comparison starts it
  testing::expect_refusal(turns, 3, "has not been proved on this machine");
  EXPECT_EQ(run_zoo({folder, "--iterations", "1", "--unproved"}).exit_code, 0);
  EXPECT_EQ(run_zoo({folder, "--check"}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(proof));

  write_network(folder, {.status = "pending"});
  EXPECT_EQ(run_zoo({folder, "--check", "--batch", "2"}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(proof)) << "a part of the check is no proof";
  const Outcome check = run_zoo({folder, "--check"});
  EXPECT_EQ(check.exit_code, 0) << check.err;
  EXPECT_NE(check.out.find("remembered in " + proof), std::string::npos) << check.out;
  EXPECT_EQ(run_zoo(run).exit_code, 0);

  std::filesystem::remove(proof);
  std::filesystem::create_directory(proof);  // so that nothing can be written there
  const Outcome warned = run_zoo({folder, "--check"});
  EXPECT_EQ(warned.exit_code, 0);
  EXPECT_EQ(std::ranges::count(warned.err, '\n'), 1) << warned.err;
  EXPECT_NE(warned.err.find("is not remembered"), std::string::npos) << warned.err;
}

}  // namespace
}  // namespace zoo
