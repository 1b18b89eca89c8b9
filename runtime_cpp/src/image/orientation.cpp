#include "image/orientation.h"

#include <algorithm>
#include <cstring>

namespace zoo {

namespace {

// Whole numbers in a TIFF block, whose first two bytes say in which order their bytes stand.
class Tiff {
 public:
  explicit Tiff(std::span<const std::byte> bytes) : bytes_(bytes) {
    if (bytes.size() < 8) return;
    little_ = bytes[0] == std::byte{'I'};
    const std::byte order = little_ ? std::byte{'I'} : std::byte{'M'};
    valid_ = bytes[0] == order && bytes[1] == order && number(2, 2) == 42;
  }

  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] bool holds(size_t at, size_t size) const {
    return at <= bytes_.size() && size <= bytes_.size() - at;
  }
  [[nodiscard]] uint32_t number(size_t at, size_t size) const {
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      const size_t from = little_ ? at + size - 1 - i : at + i;
      value = (value << 8) | std::to_integer<uint32_t>(bytes_[from]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool little_ = false;
  bool valid_ = false;
};

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kShort = 3;
constexpr uint32_t kLong = 4;
constexpr size_t kEntryBytes = 12;

std::optional<int> in_range(uint32_t value) {
  if (value < 1 || value > 8) return std::nullopt;
  return static_cast<int>(value);
}

}  // namespace

std::optional<int> exif_orientation(std::span<const std::byte> bytes) {
  const Tiff tiff(bytes);
  if (!tiff.valid()) return std::nullopt;
  const size_t directory = tiff.number(4, 4);
  if (!tiff.holds(directory, 2)) return std::nullopt;
  const size_t count = tiff.number(directory, 2);
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (!tiff.holds(entry, kEntryBytes)) return std::nullopt;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    const uint32_t type = tiff.number(entry + 2, 2);
    const size_t values = tiff.number(entry + 4, 4);  // one; of more the first counts
    if (values == 0 || (type != kShort && type != kLong)) continue;
    const size_t width = type == kShort ? 2 : 4;
    const size_t at = values * width <= 4 ? entry + 8 : tiff.number(entry + 8, 4);
    if (!tiff.holds(at, values * width)) continue;
    return in_range(tiff.number(at, width));
  }
  return std::nullopt;
}

std::optional<int> xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at + 1)) {
    std::string_view value = xmp.substr(at + kName.size());
    if (value.starts_with("=\"")) {
      value.remove_prefix(2);
    } else if (value.starts_with(">")) {
      value.remove_prefix(1);
    } else {
      continue;
    }
    if (!value.empty() && value[0] >= '0' && value[0] <= '9') {
      return in_range(static_cast<uint32_t>(value[0] - '0'));
    }
  }
  return std::nullopt;
}

bool lies_on_its_side(int orientation) { return orientation >= 5 && orientation <= 8; }

Picture turned_upright(Picture picture, int orientation) {
  if (orientation <= kUpright || orientation > 8) return picture;
  const bool side = lies_on_its_side(orientation);
  // Where the picture's first row and column lie in the file: 3, 4, 7 and 8 begin at the other end
  // of the rows that are read, 2, 3, 6 and 7 at the other end of the columns.
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Picture upright = side ? make_picture(picture.height, picture.width, picture.channels)
                         : make_picture(picture.width, picture.height, picture.channels);
  const auto channels = static_cast<size_t>(picture.channels);
  for (int64_t y = 0; y < upright.height; ++y) {
    uint8_t* to = upright.row(y);
    for (int64_t x = 0; x < upright.width; ++x, to += channels) {
      int64_t from_y = side ? x : y;
      int64_t from_x = side ? y : x;
      if (from_bottom) from_y = picture.height - 1 - from_y;
      if (from_right) from_x = picture.width - 1 - from_x;
      std::copy_n(picture.row(from_y) + from_x * picture.channels, channels, to);
    }
  }
  return upright;
}

}  // namespace zoo
