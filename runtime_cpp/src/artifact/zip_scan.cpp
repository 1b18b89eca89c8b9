#include "artifact/zip_scan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/paths.h"

namespace zoo {

namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr uint64_t kLocalBytes = 30;
constexpr uint64_t kCentralBytes = 46;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kEnd64LocatorBytes = 20;
constexpr uint32_t kIn64 = 0xffffffff;  // "see the zip64 field"
constexpr uint16_t kIn64Short = 0xffff;
constexpr uint16_t kEncryptedFlags = 0x0001 | 0x0040 | 0x2000;
constexpr uint16_t kSizesFollowFlag = 0x0008;
constexpr uint16_t kZip64Extra = 0x0001;
constexpr uint64_t kMaxDeflatedBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxDeflatedTotalBytes = uint64_t{64} << 20;

// Little-endian reads with bounds, from one archive.
class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  [[noreturn]] void fail(const std::string& what) const {
    fail_artifact(name_ + ": not a zip archive that may be loaded: " + what);
  }
  [[nodiscard]] uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] uint16_t u16(uint64_t at) const { return static_cast<uint16_t>(read(at, 2)); }
  [[nodiscard]] uint32_t u32(uint64_t at) const { return static_cast<uint32_t>(read(at, 4)); }
  [[nodiscard]] uint64_t u64(uint64_t at) const { return read(at, 8); }
  [[nodiscard]] std::string text(uint64_t at, uint64_t length) const {
    require(at, length);
    return {reinterpret_cast<const char*>(bytes_.data() + at), static_cast<size_t>(length)};
  }
  void require(uint64_t at, uint64_t length) const {
    if (at > size() || length > size() - at) fail("it is cut off");
  }

 private:
  [[nodiscard]] uint64_t read(uint64_t at, unsigned length) const {
    require(at, length);
    uint64_t value = 0;
    for (unsigned i = 0; i < length; ++i) {
      value |= std::to_integer<uint64_t>(bytes_[static_cast<size_t>(at + i)]) << (8 * i);
    }
    return value;
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
};

struct Directory {
  uint64_t start = 0;
  uint64_t bytes = 0;
  uint64_t members = 0;
};

Directory find_directory64(const Archive& zip, uint64_t end, Directory directory) {
  const uint64_t locator = end - kEnd64LocatorBytes;
  const uint64_t record = zip.u64(locator + 8);
  if (zip.u32(locator + 4) != 0 || zip.u32(locator + 16) > 1) zip.fail("it has several parts");
  if (record != locator - std::min(locator, kEnd64Bytes) || zip.u32(record) != kEnd64Signature ||
      zip.u64(record + 4) != kEnd64Bytes - 12) {
    zip.fail("its zip64 end record is not where it must be");
  }
  if (zip.u32(record + 16) != 0 || zip.u32(record + 20) != 0) zip.fail("it has several parts");
  const Directory wide{zip.u64(record + 48), zip.u64(record + 40), zip.u64(record + 32)};
  const bool agree = zip.u64(record + 24) == wide.members &&
                     (directory.members == kIn64Short || directory.members == wide.members) &&
                     (directory.bytes == kIn64 || directory.bytes == wide.bytes) &&
                     (directory.start == kIn64 || directory.start == wide.start);
  if (!agree) zip.fail("its two end records disagree");
  if (wide.start > record || wide.bytes != record - wide.start) {
    zip.fail("its directory does not end at its end record");
  }
  return wide;
}

Directory find_directory(const Archive& zip) {
  if (zip.size() < kEndBytes) zip.fail("it is cut off");
  const uint64_t end = zip.size() - kEndBytes;
  // The end record must be the very end, so that no second archive can hide behind it.
  if (zip.u32(end) != kEndSignature || zip.u16(end + 20) != 0) {
    zip.fail("its end record is not at the end of the file");
  }
  if (zip.u16(end + 4) != 0 || zip.u16(end + 6) != 0 || zip.u16(end + 8) != zip.u16(end + 10)) {
    zip.fail("it has several parts");
  }
  const Directory directory{zip.u32(end + 16), zip.u32(end + 12), zip.u16(end + 10)};
  if (end >= kEnd64LocatorBytes && zip.u32(end - kEnd64LocatorBytes) == kEnd64LocatorSignature) {
    return find_directory64(zip, end, directory);
  }
  if (directory.start > end || directory.bytes != end - directory.start) {
    zip.fail("its directory does not end at its end record");
  }
  return directory;
}

// The sizes and the offset of a directory entry, from the zip64 field where they stand there.
struct Extent {
  uint64_t bytes;
  uint64_t stored_bytes;
  uint64_t offset;
};

Extent read_extent(const Archive& zip, uint64_t entry, uint64_t extra, uint64_t extra_end) {
  Extent extent{zip.u32(entry + 24), zip.u32(entry + 20), zip.u32(entry + 42)};
  uint64_t field_end = 0;
  uint64_t at = 0;
  while (extra + 4 <= extra_end) {
    const uint64_t next = extra + 4 + zip.u16(extra + 2);
    if (next > extra_end) zip.fail("a directory entry is damaged");
    if (zip.u16(extra) == kZip64Extra) {
      if (at != 0) zip.fail("a directory entry has two zip64 fields");
      at = extra + 4;
      field_end = next;
    }
    extra = next;
  }
  for (uint64_t* value : {&extent.bytes, &extent.stored_bytes, &extent.offset}) {
    if (*value != kIn64) continue;
    if (at == 0 || at + 8 > field_end) zip.fail("a directory entry lacks its zip64 sizes");
    *value = zip.u64(at);
    at += 8;
  }
  return extent;
}

bool may_be_deflated(const std::string& member) {
  const size_t slash = member.find('/');
  return slash != std::string::npos && member.compare(slash, 6, "/code/") == 0;
}

void check_member(const Archive& zip, const ZipMember& member, uint16_t flags, uint16_t method,
                  ZipRules rules) {
  const std::string shown = "member '" + member.name + "' ";
  if (const auto why = unsafe_name(member.name)) zip.fail("the name of " + shown + *why);
  if (flags & kEncryptedFlags) zip.fail(shown + "is encrypted");
  if (method != 0 && !(method == 8 && rules.deflated_code && may_be_deflated(member.name))) {
    zip.fail(shown + "is compressed; only stored members are allowed");
  }
  if (method == 0 && member.bytes != member.stored_bytes) {
    zip.fail(shown + "has two different sizes");
  }
  if (method == 8 && member.bytes > kMaxDeflatedBytes) {
    zip.fail(shown + "unpacks to more than 16 MiB");
  }
}

// The header before a member's bytes must say what the directory said. Returns where they end.
uint64_t check_local(const Archive& zip, const ZipMember& member, uint64_t offset, uint16_t flags,
                     uint16_t method) {
  const std::string shown = "member '" + member.name + "' ";
  if (zip.u32(offset) != kLocalSignature) zip.fail(shown + "is not where the directory says");
  const uint16_t local_flags = zip.u16(offset + 6);
  if (local_flags != flags || zip.u16(offset + 8) != method ||
      zip.text(offset + kLocalBytes, zip.u16(offset + 26)) != member.name) {
    zip.fail(shown + "has another name or form in its own header");
  }
  const uint32_t stored_bytes = zip.u32(offset + 18);
  if (!(local_flags & kSizesFollowFlag) && stored_bytes != kIn64 &&
      (stored_bytes != member.stored_bytes || zip.u32(offset + 22) != member.bytes)) {
    zip.fail(shown + "has another size in its own header");
  }
  const uint64_t data = offset + kLocalBytes + zip.u16(offset + 26) + zip.u16(offset + 28);
  zip.require(data, member.stored_bytes);
  return data + member.stored_bytes;
}

}  // namespace

std::vector<ZipMember> scan_zip(std::span<const std::byte> bytes, const std::string& name,
                                ZipRules rules) {
  const Archive zip(bytes, name);
  const Directory directory = find_directory(zip);
  const uint64_t directory_end = directory.start + directory.bytes;

  std::vector<ZipMember> members;
  std::vector<std::pair<uint64_t, uint64_t>> extents;
  std::set<std::string> names;
  uint64_t deflated_bytes = 0;
  uint64_t entry = directory.start;
  while (entry < directory_end) {
    if (zip.u32(entry) != kCentralSignature) zip.fail("a directory entry is damaged");
    const uint16_t flags = zip.u16(entry + 8);
    const uint16_t method = zip.u16(entry + 10);
    const uint64_t extra = entry + kCentralBytes + zip.u16(entry + 28);
    const uint64_t extra_end = extra + zip.u16(entry + 30);
    const uint64_t next = extra_end + zip.u16(entry + 32);
    if (next > directory_end) zip.fail("a directory entry is damaged");
    if (zip.u16(entry + 34) != 0) zip.fail("it has several parts");
    const Extent extent = read_extent(zip, entry, extra, extra_end);
    const ZipMember member{zip.text(entry + kCentralBytes, zip.u16(entry + 28)),
                           extent.stored_bytes, extent.bytes, method != 0};

    check_member(zip, member, flags, method, rules);
    if (!names.insert(member.name).second) {
      zip.fail("member '" + member.name + "' is there twice");
    }
    if (member.deflated) deflated_bytes += member.bytes;
    if (deflated_bytes > kMaxDeflatedTotalBytes) {
      zip.fail("its deflated members unpack to more than 64 MiB");
    }
    extents.emplace_back(extent.offset, check_local(zip, member, extent.offset, flags, method));
    members.push_back(member);
    entry = next;
  }
  if (members.size() != directory.members) zip.fail("its directory has another number of members");

  std::ranges::sort(extents);
  extents.emplace_back(directory.start, directory_end);
  for (size_t i = 0; i + 1 < extents.size(); ++i) {
    if (extents[i].second > extents[i + 1].first) zip.fail("two of its members overlap");
  }
  return members;
}

}  // namespace zoo
