// The files of tests/data that Python's reader is tested on too: both must give the same verdict.
#include <gtest/gtest.h>

#include "artifact/golden.h"
#include "artifact/manifest.h"
#include "artifact/npy.h"
#include "artifact/safetensors.h"
#include "fixtures.h"

namespace zoo {
namespace {

using std::filesystem::path;
using testing::as_bytes;
using testing::read_file;

const path kData = ZOO_TEST_DATA;

std::vector<path> files_in(const path& folder) {
  std::vector<path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files.push_back(entry.path());
  }
  EXPECT_FALSE(files.empty()) << folder;
  return files;
}

void parse_tensors(const path& file) {
  const std::string bytes = read_file(file);
  if (file.extension() == ".npy") {
    (void)parse_npy(as_bytes(bytes), file.filename());
  } else {
    (void)parse_safetensors(as_bytes(bytes), file.filename());
  }
}

TEST(Corpus, SoundManifestsAreRead) {
  for (const path& file : files_in(kData / "manifests/sound")) {
    std::string message;
    const ExitCode code =
        testing::exit_code_of([&] { (void)parse_manifest(read_file(file), "folder"); }, &message);
    EXPECT_EQ(code, ExitCode::kDone) << file << ": " << message;
  }
}

TEST(Corpus, ForgedManifestsAreRefusedByTheFieldThatIsWrong) {
  const Json parts = Json::parse(read_file(kData / "manifests/forged.json"));
  for (const path& file : files_in(kData / "manifests/forged")) {
    const auto part = parts.at(file.filename()).get<std::string>();
    SCOPED_TRACE(file);
    EXPECT_REFUSED(ExitCode::kBadArtifact, part, parse_manifest(read_file(file), "folder"));
  }
}

TEST(Corpus, SoundTensorsAreRead) {
  for (const path& file : files_in(kData / "tensors/sound")) {
    std::string message;
    EXPECT_EQ(testing::exit_code_of([&] { parse_tensors(file); }, &message), ExitCode::kDone)
        << file << ": " << message;
  }
}

TEST(Corpus, ForgedTensorsAreRefused) {
  for (const path& file : files_in(kData / "tensors/forged")) {
    SCOPED_TRACE(file);
    EXPECT_REFUSED(ExitCode::kBadArtifact, file.filename().string(), parse_tensors(file));
  }
}

// The golden files of one manifest, whose outputs are of any shape.
class GoldenCorpus : public ::testing::Test {
 protected:
  GoldenViews find(const path& file) {
    bytes_ = read_file(kData / "tensors/golden" / file);
    return find_golden(as_bytes(bytes_), manifest_);
  }
  const Manifest manifest_ =
      parse_manifest(read_file(kData / "manifests/sound/outputs-of-any-shape.json"), "folder");
  std::string bytes_;
};

TEST_F(GoldenCorpus, TheSoundOneIsRead) {
  const GoldenViews golden = find("sound/any-shape.safetensors");
  ASSERT_EQ(golden.outputs.size(), 5u);
  EXPECT_FALSE(golden.outputs[0].positions);
  ASSERT_TRUE(golden.outputs[1].positions);
  EXPECT_EQ(value_at<int64_t>(*golden.outputs[1].positions, 9), 47);
  EXPECT_TRUE(golden.outputs[1].e_eager);
  EXPECT_FALSE(golden.outputs[3].e_eager);
}

TEST_F(GoldenCorpus, TheForgedAreRefusedByTheTensorThatIsWrong) {
  const Json parts = Json::parse(read_file(kData / "tensors/golden/forged.json"));
  for (const auto& [name, part] : parts.items()) {
    SCOPED_TRACE(name);
    EXPECT_REFUSED(ExitCode::kBadArtifact, part.get<std::string>(), find("forged/" + name));
  }
}

}  // namespace
}  // namespace zoo
