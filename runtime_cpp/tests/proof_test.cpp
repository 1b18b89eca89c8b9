#include "artifact/proof.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixtures.h"
#include "machine/machine.h"

namespace zoo {
namespace {

using testing::make_manifest;
using testing::read_file;
using testing::TempFolder;
using testing::write_file;

class Proof : public ::testing::Test {
 protected:
  // An artifact of this status, in a folder of its own below `place_`.
  VerifiedArtifact open(const std::string& status) {
    Json manifest = make_manifest();
    testing::set_status(manifest, status);
    std::filesystem::create_directories(place_ / "a-b1-cpu");
    testing::write_artifact(place_ / "a-b1-cpu", manifest,
                            {{"model.ts", testing::make_zip({{"m/data.pkl", "program"}})},
                             {kGoldenFile, testing::make_golden()}});
    return open_artifact(place_ / "a-b1-cpu");
  }
  void expect_not_proved(const VerifiedArtifact& artifact) {
    EXPECT_REFUSED(ExitCode::kBadArtifact, "--check", require_proved(artifact, false, false));
  }
  TempFolder place_;
};

TEST_F(Proof, EachOptionLiftsItsOwnRefusal) {
  const VerifiedArtifact accepted = open("accepted");
  EXPECT_REFUSED(ExitCode::kBadArtifact, "pass --accept-error to run it",
                 require_proved(accepted, false, true));
  require_proved(accepted, true, false);
  const VerifiedArtifact pending = open("pending");
  EXPECT_REFUSED(ExitCode::kBadArtifact, "has not been proved on this machine: it was built for ",
                 require_proved(pending, true, false));
  require_proved(pending, false, true);
  require_proved(open("proved"), false, false);
  require_proved(open("proved"), true, true);
}

TEST_F(Proof, TheRefusalNamesWhatItWasBuiltFor) {
  VerifiedArtifact artifact = open("pending");
  const std::string path = artifact.folder;
  const std::string commands = "; run zoo check " + path + " or zoo-run " + path + " --check on";
  artifact.manifest.target = "x86-64-v4";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "built for x86-64-v4" + commands + " such a CPU",
                 require_proved(artifact, false, false));
  artifact.manifest.device = "cuda";
  artifact.manifest.requirements.gpu_arch = "sm_89,sm_120";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "built for sm_89, sm_120" + commands + " such a GPU",
                 require_proved(artifact, false, false));
  artifact.manifest.requirements.gpu_arch.reset();
  EXPECT_EQ(built_for(artifact.manifest), "any GPU");
}

TEST_F(Proof, IsRememberedBesideTheFolder) {
  const VerifiedArtifact artifact = open("pending");
  expect_not_proved(artifact);
  record_proof(artifact);
  require_proved(artifact, false, false);
  const Json proof = Json::parse(read_file(place_ / "proof-a-b1-cpu.json"));
  EXPECT_EQ(proof["manifest_sha256"], artifact.manifest_sha256);
  EXPECT_EQ(proof["machine"], describe_processor("cpu"));
  EXPECT_TRUE(proof["date"].get<std::string>().ends_with("Z"));
  // However the folder is named: with a slash at the end, or through a link.
  std::filesystem::create_directory_symlink(place_ / "a-b1-cpu", place_ / "link");
  require_proved(open_artifact(place_ / "a-b1-cpu/"), false, false);
  require_proved(open_artifact(place_ / "link"), false, false);
}

TEST_F(Proof, OfAnotherManifestOrMachineCountsAsNone) {
  const VerifiedArtifact artifact = open("pending");
  const std::string path = proof_path(artifact);
  record_proof(artifact);
  const Json good = Json::parse(read_file(path));
  for (const char* key : {"manifest_sha256", "machine"}) {
    for (const Json& value : {Json("another"), Json(), Json(1)}) {
      Json other = good;
      other[key] = value;
      write_file(path, other.dump());
      expect_not_proved(artifact);
    }
    Json without = good;
    without.erase(key);
    write_file(path, without.dump());
    expect_not_proved(artifact);
  }
}

TEST_F(Proof, ADamagedFileCountsAsNone) {
  const VerifiedArtifact artifact = open("pending");
  const std::string path = proof_path(artifact);
  record_proof(artifact);
  const std::string good = read_file(path);
  write_file(path, good + std::string((1 << 16) - good.size(), ' '));
  require_proved(artifact, false, false);
  for (const std::string& text : {std::string(), good.substr(0, 40), std::string("[]"),
                                  good + std::string(1 << 16, ' '), "[" + good + "]"}) {
    write_file(path, text);
    expect_not_proved(artifact);
  }
  ::unlink(path.c_str());
  write_file(place_ / "elsewhere", good);
  std::filesystem::create_symlink(place_ / "elsewhere", path);
  expect_not_proved(artifact);
  ::unlink(path.c_str());
  ::mkfifo(path.c_str(), 0600);  // and nobody waits for a writer
  expect_not_proved(artifact);
}

TEST_F(Proof, WhatCannotBeWrittenIsSaid) {
  const VerifiedArtifact artifact = open("pending");
  std::filesystem::create_directory(proof_path(artifact));
  EXPECT_REFUSED(ExitCode::kMachineLacks, "cannot be written", record_proof(artifact));
}

}  // namespace
}  // namespace zoo
