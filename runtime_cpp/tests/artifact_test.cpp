#include "artifact/artifact.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "fixtures.h"

namespace zoo {
namespace {

using testing::make_manifest;
using testing::make_zip;
using testing::read_file;
using testing::TempFolder;
using testing::write_artifact;
using testing::write_file;

std::map<std::string, std::string> good_files() {
  return {{"model.ts", make_zip({{"m/data.pkl", "program"}})},
          {kGoldenFile, testing::make_golden()}};
}

void expect_refused(const std::string& folder, const std::string& part) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, part, open_artifact(folder));
}

TEST(Artifact, OpensWhatKeepsTheContract) {
  const TempFolder folder;
  write_artifact(folder.path(), make_manifest(), good_files());
  const VerifiedArtifact artifact = open_artifact(folder.path());
  EXPECT_EQ(artifact.files.size(), 2u);
  EXPECT_EQ(read_file(artifact.file("model.ts").path()), good_files().at("model.ts"));
}

TEST(Artifact, FindsEveryFlippedByte) {
  const TempFolder folder;
  write_artifact(folder.path(), make_manifest(), good_files());
  for (const char* name : {"manifest.json", "manifest.sha256", "model.ts", kGoldenFile}) {
    const std::string whole = read_file(folder / name);
    for (size_t i = 0; i < whole.size(); ++i) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x01);
      write_file(folder / name, damaged);
      const ExitCode code = testing::exit_code_of([&] { (void)open_artifact(folder.path()); });
      EXPECT_EQ(code, ExitCode::kBadArtifact) << name << " at " << i;
    }
    write_file(folder / name, whole);
  }
  EXPECT_EQ(open_artifact(folder.path()).files.size(), 2u);
}

TEST(Artifact, FindsOtherSizesAndMissingFiles) {
  for (const char* name : {"manifest.json", "manifest.sha256", "model.ts", kGoldenFile}) {
    const TempFolder folder;
    write_artifact(folder.path(), make_manifest(), good_files());
    const std::string whole = read_file(folder / name);
    write_file(folder / name, whole + "x");
    expect_refused(folder.path(), name);
    write_file(folder / name, whole.substr(1));
    expect_refused(folder.path(), name);
    write_file(folder / name, "");
    expect_refused(folder.path(), name);
    ::unlink((folder / name).c_str());
    expect_refused(folder.path(), name);
  }
}

TEST(Artifact, RefusesAManifestThatIsTooLarge) {
  const TempFolder folder;
  write_artifact(folder.path(), make_manifest(), good_files());
  testing::write_manifest(folder.path(), std::string(kMaxManifestBytes + 1, ' '));
  expect_refused(folder.path(), "larger than 1048576");
}

TEST(Artifact, FollowsNoSymbolicLinkInside) {
  const TempFolder folder;
  const TempFolder outside;
  write_artifact(folder.path(), make_manifest(), good_files());
  for (const char* name : {"manifest.json", "manifest.sha256", "model.ts"}) {
    std::filesystem::rename(folder / name, outside / name);
    std::filesystem::create_symlink(outside / name, folder / name);
    expect_refused(folder.path(), "symbolic link");
    std::filesystem::remove(folder / name);
    std::filesystem::rename(outside / name, folder / name);
  }
  std::filesystem::create_directory_symlink(folder.path(), outside / "link");
  EXPECT_EQ(open_artifact(outside / "link").files.size(), 2u);  // the user's own path may be one
}

TEST(Artifact, FollowsNoLinkedFolderInside) {
  const TempFolder folder;
  const TempFolder outside;
  auto files = good_files();
  files["sub/extra.bin"] = "bytes";
  write_artifact(folder.path(), make_manifest(), files);
  EXPECT_EQ(open_artifact(folder.path()).files.size(), 3u);
  std::filesystem::rename(folder / "sub", outside / "sub");
  std::filesystem::create_directory_symlink(outside / "sub", folder / "sub");
  EXPECT_EQ(testing::exit_code_of([&] { (void)open_artifact(folder.path()); }),
            ExitCode::kBadArtifact);
}

TEST(Artifact, RefusesWhatIsNoRegularFile) {
  const TempFolder folder;
  write_artifact(folder.path(), make_manifest(), good_files());
  std::filesystem::remove(folder / "model.ts");
  ::mkfifo((folder / "model.ts").c_str(), 0600);
  expect_refused(folder.path(), "not a regular file");  // and does not wait for a writer
  std::filesystem::remove(folder / "model.ts");
  std::filesystem::create_directory(folder / "model.ts");
  expect_refused(folder.path(), "not a regular file");
  expect_refused(folder / "none", "No such file");
  expect_refused(folder / "manifest.json", "not a folder");
}

TEST(Artifact, ScansArchivesWhoseHashesAreRight) {
  for (const char* name : {"model.ts", "more.pt2"}) {
    const TempFolder folder;
    auto files = good_files();
    files[name] = make_zip({{"m/../../x", "evil"}});
    write_artifact(folder.path(), make_manifest(), files);
    expect_refused(folder.path(), std::string(name) + ": not a zip archive that may be loaded");
  }
  const TempFolder folder;
  auto files = good_files();
  files["more.pt2"] = make_zip({{"m/code/x", "deflated", 8}});
  write_artifact(folder.path(), make_manifest(), files);
  expect_refused(folder.path(), "compressed");
  files.erase("more.pt2");
  files["model.ts"] = make_zip({{"m/code/x", "deflated", 8}});
  write_artifact(folder.path(), make_manifest(), files);
  EXPECT_EQ(open_artifact(folder.path()).files.size(), 2u);
}

TEST(Artifact, LooksIntoTensorsWhoseHashesAreRight) {
  const TempFolder folder;
  auto files = good_files();
  files["more.safetensors"] = "not one";
  write_artifact(folder.path(), make_manifest(), files);
  expect_refused(folder.path(), "more.safetensors: not a sound safetensors file");
  files.erase("more.safetensors");
  files[kGoldenFile] = testing::make_golden(17);
  write_artifact(folder.path(), make_manifest(), files);
  expect_refused(folder.path(), "'inputs/x' is F32 [17, 1, 2, 2], the manifest wants F32 [16, 1,");
  files[kGoldenFile] = testing::make_golden().substr(1);
  write_artifact(folder.path(), make_manifest(), files);
  expect_refused(folder.path(), "golden.safetensors: not a sound safetensors file");
  // Its data is 16 rows of 4 floats, then 16 of 3 doubles.
  const size_t data = testing::make_golden().size() - 16 * (4 * sizeof(float) + 3 * sizeof(double));
  const std::string nan("\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
  for (const auto& [at, bytes] :
       std::map<size_t, std::string>{{data, nan.substr(4)}, {data + 16 * 4 * sizeof(float), nan}}) {
    files[kGoldenFile] = testing::make_golden().replace(at, bytes.size(), bytes);
    write_artifact(folder.path(), make_manifest(), files);
    expect_refused(folder.path(), "holds NaN or Inf; all values must be finite");
  }
}

TEST(Artifact, RefusesASparseFileOfAnySizeAtOnce) {
  const TempFolder folder;
  write_artifact(folder.path(), make_manifest(), good_files());
  std::filesystem::resize_file(folder / "manifest.json", uint64_t{64} << 30);
  expect_refused(folder.path(), "larger than 1048576");
}

// Another process that swaps files never makes this one accept what it did not verify.
TEST(Artifact, SwappingFilesNeverGetsThrough) {
  const TempFolder folder;
  write_artifact(folder.path(), make_manifest(), good_files());
  const std::string good = good_files().at("model.ts");
  std::string evil = good;
  evil[40] = static_cast<char>(evil[40] ^ 0x10);
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    for (bool turn = false; !stop; turn = !turn) {
      write_file(folder / "next", turn ? good : evil);
      std::filesystem::rename(folder / "next", folder / "model.ts");
    }
  });
  for (int i = 0; i < 200; ++i) {
    const ExitCode code = testing::exit_code_of(
        [&] { EXPECT_EQ(read_file(open_artifact(folder.path()).file("model.ts").path()), good); });
    EXPECT_TRUE(code == ExitCode::kDone || code == ExitCode::kBadArtifact);
  }
  stop = true;
  swapper.join();
}

}  // namespace
}  // namespace zoo
