#include "base/scratch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "fixtures.h"

namespace zoo {
namespace {

using testing::TempFolder;

// The pid of a process that is no more.
pid_t dead_pid() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return child;
}

std::string abandon(const TempFolder& parent, pid_t pid) {
  const std::string folder = parent / ("zoo-run-" + std::to_string(pid) + "-AbC123");
  std::filesystem::create_directories(folder + "/deep/er");
  testing::write_file(folder + "/deep/er/file", "x");
  return folder;
}

class ScratchTest : public ::testing::Test {
 protected:
  ScratchTest() { ::setenv("TMPDIR", parent_.path().c_str(), 1); }
  ~ScratchTest() override { ::unsetenv("TMPDIR"); }
  TempFolder parent_;
};

TEST_F(ScratchTest, IsPrivateAndGoesAway) {
  std::string path;
  {
    const Scratch scratch;
    path = scratch.path();
    EXPECT_EQ(std::string(std::getenv("TMPDIR")), path);
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700u);
    std::filesystem::create_directories(path + "/aotinductor_x/y");
    std::filesystem::create_directory_symlink(parent_.path(), path + "/link");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::exists(parent_.path()));
  EXPECT_EQ(std::string(std::getenv("TMPDIR")), parent_.path());
}

TEST_F(ScratchTest, SweepsWhatTheDeadLeft) {
  const std::string old = abandon(parent_, dead_pid());
  EXPECT_EQ(sweep_scratch(parent_.path()), 1);
  EXPECT_FALSE(std::filesystem::exists(old));
}

TEST_F(ScratchTest, KeepsWhatIsNotItsOwn) {
  const std::string pid = std::to_string(dead_pid());
  const std::vector<std::string> kept = {
      "zoo-run-" + pid,
      "zoo-run-" + pid + "-AbC12",
      "zoo-run-" + pid + "-AbC1234",
      "zoo-run-" + pid + "-AbC.12",
      "zoo-run--AbC123",
      "zoo-run-x-AbC123",
      "zoo-run-" + std::to_string(::getpid()) + "-AbC123",
      "other-" + pid + "-AbC123",
  };
  for (const std::string& name : kept) std::filesystem::create_directory(parent_ / name);
  testing::write_file(parent_ / ("zoo-run-" + pid + "-file01"), "a file, no folder");
  EXPECT_EQ(sweep_scratch(parent_.path()), 0);
  for (const std::string& name : kept) EXPECT_TRUE(std::filesystem::exists(parent_ / name)) << name;
}

TEST_F(ScratchTest, FollowsNoLink) {
  const TempFolder victim;
  testing::write_file(victim / "precious", "x");
  const std::string pid = std::to_string(dead_pid());
  std::filesystem::create_directory_symlink(victim.path(),
                                            parent_ / ("zoo-run-" + pid + "-link01"));
  EXPECT_EQ(sweep_scratch(parent_.path()), 0);
  const std::string old = abandon(parent_, dead_pid());
  std::filesystem::create_directory_symlink(victim.path(), old + "/link");
  EXPECT_EQ(sweep_scratch(parent_.path()), 1);
  EXPECT_TRUE(std::filesystem::exists(victim / "precious"));
}

// In another container the owner's pid means nothing here, but its lock does.
TEST_F(ScratchTest, KeepsALockedFolder) {
  const std::string folder = abandon(parent_, dead_pid());
  const FileDescriptor owner(::open(folder.c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_EQ(::flock(owner.get(), LOCK_EX), 0);
  EXPECT_EQ(sweep_scratch(parent_.path()), 0);
  EXPECT_TRUE(std::filesystem::exists(folder));
}

TEST_F(ScratchTest, SaysWhatToDoWithoutAPlace) {
  ::setenv("TMPDIR", "/no/such/folder", 1);
  EXPECT_REFUSED(ExitCode::kMachineLacks, "set TMPDIR", Scratch().path());
}

}  // namespace
}  // namespace zoo
