#include "artifact/sealed_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "artifact/sha256.h"
#include "fixtures.h"

namespace zoo {
namespace {

using testing::TempFolder;

SealedFile seal_text(const TempFolder& folder, const std::string& text) {
  testing::write_file(folder / "f", text);
  return seal(open_regular(folder / "f"), "f", 1 << 20);
}

TEST(Sha256, KnownDigests) {
  EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(testing::as_bytes("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_FALSE(is_sha256_hex(std::string(63, 'a')));
  EXPECT_FALSE(is_sha256_hex(std::string(64, 'A')));
  EXPECT_TRUE(is_sha256_hex(std::string(64, 'a')));
}

TEST(SealedFile, IsACopyThatNobodyCanChange) {
  const TempFolder folder;
  const SealedFile file = seal_text(folder, "abc");
  testing::write_file(folder / "f", "xyz");
  EXPECT_EQ(testing::read_file(file.path()), "abc");
  EXPECT_EQ(file.sha256(), sha256_hex(testing::as_bytes("abc")));
  const int fd = ::open(file.path().c_str(), O_RDWR);
  if (fd >= 0) {
    EXPECT_LT(::write(fd, "x", 1), 0);
    EXPECT_NE(::ftruncate(fd, 1), 0);
    EXPECT_NE(::ftruncate(fd, 10), 0);
    ::close(fd);
  }
  EXPECT_EQ(testing::read_file(file.path()), "abc");
}

// A mapping that can be written keeps the kernel from sealing, as a page in motion does.
TEST(SealedFile, IsFrozenOnceNothingHoldsItsPages) {
  const FileDescriptor copy(::memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(copy.get(), "abc", 3), 3);
  void* mapping = ::mmap(nullptr, 3, PROT_READ | PROT_WRITE, MAP_SHARED, copy.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  EXPECT_REFUSED(ExitCode::kMachineLacks, "f: its copy in memory cannot be sealed",
                 freeze(copy, "f", std::chrono::milliseconds{0}));
  std::thread holder([mapping] {
    std::this_thread::sleep_for(std::chrono::milliseconds{30});
    ::munmap(mapping, 3);
  });
  freeze(copy, "f");
  EXPECT_LT(::write(copy.get(), "x", 1), 0);
  holder.join();
}

TEST(SealedFile, MapsItsBytes) {
  const TempFolder folder;
  const std::string text(3'000'000, 'z');
  testing::write_file(folder / "f", text);
  const SealedFile file = seal(open_regular(folder / "f"), "f", text.size());
  const SealedView view(file);
  EXPECT_EQ(view.bytes().size(), text.size());
  EXPECT_EQ(sha256_hex(view.bytes()), file.sha256());
  EXPECT_TRUE(SealedView(seal_text(folder, "")).bytes().empty());
}

TEST(SealedFile, RefusesMoreThanAllowed) {
  const TempFolder folder;
  testing::write_file(folder / "f", "four");
  EXPECT_EQ(seal(open_regular(folder / "f"), "f", 4).size(), 4u);
  EXPECT_REFUSED(ExitCode::kBadArtifact, "larger than 3", seal(open_regular(folder / "f"), "f", 3));
}

}  // namespace
}  // namespace zoo
