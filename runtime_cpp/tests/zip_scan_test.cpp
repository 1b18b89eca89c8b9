#include "artifact/zip_scan.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace zoo {
namespace {

using testing::make_zip;
using testing::ZipSpec;

std::vector<ZipMember> scan(const std::string& bytes, bool deflated_code = false) {
  return scan_zip(testing::as_bytes(bytes), "x.pt", {deflated_code});
}

void expect_refused(const std::string& bytes, const std::string& part, bool deflated_code = false) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, part, scan(bytes, deflated_code));
}

TEST(ZipScan, ReadsAPlainArchive) {
  const auto members = scan(make_zip({{"m/data.pkl", "abc"}, {"m/data/0", ""}}));
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].name, "m/data.pkl");
  EXPECT_EQ(members[0].bytes, 3u);
  EXPECT_TRUE(scan(make_zip({})).empty());
}

TEST(ZipScan, RefusesHostileNames) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"../x", "'..'"},       {"m/../../x", "'..'"},     {"m/..", "'..'"},
      {"/etc/x", "absolute"}, {"m\\..\\x", "backslash"}, {std::string("m\0x", 3), "control"},
      {"m/\nx", "control"},   {"m/\x7f", "control"},     {"", "empty"},
      {"m//x", "empty part"}, {"m/", "empty part"},
  };
  for (const auto& [name, part] : names) expect_refused(make_zip({{"m/ok"}, {name}}), part);
  EXPECT_EQ(scan(make_zip({{"m/..x"}, {"m/x.."}, {std::string(5000, 'a')}})).size(), 3u);
}

TEST(ZipScan, RefusesDuplicates) { expect_refused(make_zip({{"m/a"}, {"m/a"}}), "twice"); }

TEST(ZipScan, RefusesAnotherNameInTheLocalHeader) {
  ZipSpec member{"m/a"};
  member.local_name = "../";
  expect_refused(make_zip({member}), "another name");
}

TEST(ZipScan, RefusesEncryptedMembers) {
  for (const int flags : {0x0001, 0x0041, 0x2000}) {
    expect_refused(make_zip({{"m/a", "x", 0, static_cast<uint16_t>(flags)}}), "encrypted");
  }
}

TEST(ZipScan, AllowsDeflatedMembersOnlyAsCodeOfATorchScriptFile) {
  const std::string code = make_zip({{"m/code/a.py", "x", 8}});
  EXPECT_TRUE(scan(code, true)[0].deflated);
  expect_refused(code, "compressed");
  expect_refused(make_zip({{"m/data/0", "x", 8}}), "compressed", true);
  expect_refused(make_zip({{"code/a.py", "x", 8}}), "compressed", true);
  expect_refused(make_zip({{"m/n/code/a.py", "x", 8}}), "compressed", true);
  expect_refused(make_zip({{"m/code/a.py", "x", 12}}), "compressed", true);
}

ZipSpec bomb(const std::string& name, uint32_t bytes) {
  ZipSpec member{name, "x", 8};
  member.claimed_bytes = bytes;
  return member;
}

TEST(ZipScan, CapsWhatDeflatedMembersUnpackTo) {
  constexpr uint32_t kMax = 16u << 20;
  std::vector<ZipSpec> members;
  for (char c = 'a'; c < 'e'; ++c) members.push_back(bomb(std::string("m/code/") + c, kMax));
  EXPECT_EQ(scan(make_zip(members), true).size(), 4u);
  members.push_back(bomb("m/code/e", 1));
  expect_refused(make_zip(members), "64 MiB", true);
  expect_refused(make_zip({bomb("m/code/a", kMax + 1)}), "16 MiB", true);
}

TEST(ZipScan, AStoredMemberHasOneSize) {
  ZipSpec member{"m/a", "abc"};
  member.claimed_bytes = 1000;
  expect_refused(make_zip({member}), "two different sizes");
}

TEST(ZipScan, RefusesEveryTruncationAndEverythingBehindTheEnd) {
  const std::string zip = make_zip({{"m/data.pkl", "abc"}, {"m/code/a.py", "def"}});
  for (size_t length = 0; length < zip.size(); ++length) {
    EXPECT_REFUSED(ExitCode::kBadArtifact, "x.pt", scan(zip.substr(0, length)));
  }
  expect_refused(zip + "x", "end record");
  expect_refused(zip + zip, "directory");  // the second archive's offsets point into the first
  expect_refused("x" + zip, "directory");
}

TEST(ZipScan, SurvivesEveryFlippedByte) {
  const std::string zip = make_zip({{"m/data.pkl", "abc"}, {"m/code/a.py", "def"}});
  for (size_t i = 0; i < zip.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = zip;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      const ExitCode code = testing::exit_code_of([&] { (void)scan(damaged); });
      EXPECT_TRUE(code == ExitCode::kDone || code == ExitCode::kBadArtifact);
    }
  }
}

TEST(ZipScan, ReadsZip64EndRecords) {
  // torch writes both end records; the wide one must lie right before its locator.
  std::string zip = make_zip({{"m/a"}});
  const std::string end = zip.substr(zip.size() - 22);
  zip.resize(zip.size() - 22);
  const auto number = [](uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
    return out;
  };
  const uint64_t start = 30 + 3 + 1;
  const uint64_t bytes = zip.size() - start;
  const std::string wide = number(0x06064b50, 4) + number(44, 8) + number(45, 2) + number(45, 2) +
                           number(0, 8) + number(1, 8) + number(1, 8) + number(bytes, 8) +
                           number(start, 8);
  const auto locator = [&](uint64_t at) {
    return number(0x07064b50, 4) + number(0, 4) + number(at, 8) + number(1, 4);
  };
  EXPECT_EQ(scan(zip + wide + locator(zip.size()) + end).size(), 1u);
  expect_refused(zip + wide + locator(zip.size() - 1) + end, "zip64");
  expect_refused(zip + wide + locator(~uint64_t{0}) + end, "zip64");
  std::string lying = wide;
  lying[32] = 2;
  expect_refused(zip + lying + locator(zip.size()) + end, "disagree");
  std::string only64 = end;
  for (size_t i = 8; i < 20; ++i) only64[i] = '\xff';
  EXPECT_EQ(scan(zip + wide + locator(zip.size()) + only64).size(), 1u);
  expect_refused(zip + only64, "directory");
}

}  // namespace
}  // namespace zoo
