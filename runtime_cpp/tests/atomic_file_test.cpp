#include "base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixtures.h"

namespace zoo {
namespace {

using testing::read_file;
using testing::TempFolder;

size_t entries(const TempFolder& folder) {
  const std::filesystem::directory_iterator all(folder.path());
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

TEST(AtomicFile, ReplacesAFileWhole) {
  const TempFolder folder;
  write_atomically(folder / "y", "first");
  write_atomically(folder / "y", "second");
  EXPECT_EQ(read_file(folder / "y"), "second");
  EXPECT_EQ(entries(folder), 1u);
  struct stat status{};
  ::stat((folder / "y").c_str(), &status);
  EXPECT_NE(status.st_mode & S_IRUSR, 0u);
}

TEST(AtomicFile, CheckingLeavesNothing) {
  const TempFolder folder;
  check_writable(folder / "y");
  EXPECT_EQ(entries(folder), 0u);
}

TEST(AtomicFile, RefusesWhatIsNoPlaceForAFile) {
  const TempFolder folder;
  testing::write_file(folder / "victim", "old");
  std::filesystem::create_symlink(folder / "victim", folder / "link");
  std::filesystem::create_symlink(folder / "none", folder / "dangling");
  ::mkfifo((folder / "pipe").c_str(), 0600);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {folder.path(), "directory"},
      {folder.path() + "/", "directory"},
      {folder / "no/such/y", "No such"},
      {folder / "link", "symbolic link"},
      {folder / "dangling", "symbolic link"},
      {folder / "pipe", "not a regular file"},
      {"/proc/y", "/proc/y"},
      {"", "written"},
  };
  for (const auto& [path, part] : cases) {
    EXPECT_REFUSED(ExitCode::kMachineLacks, part, check_writable(path));
    EXPECT_REFUSED(ExitCode::kMachineLacks, part, write_atomically(path, "new"));
  }
  EXPECT_EQ(read_file(folder / "victim"), "old");
}

}  // namespace
}  // namespace zoo
