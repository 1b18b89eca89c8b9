#include "image/decode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "image/jpeg.h"
#include "image/orientation.h"
#include "image/png.h"

namespace zoo {

namespace {

constexpr std::string_view kJpeg = "\xff\xd8\xff";
constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n";

// Formats that are known by name alone.
struct Other {
  size_t at;  // where the signature stands
  std::string_view signature;
  const char* name;
};
constexpr std::array kOthers = {Other{8, "WEBP", "a WebP"},       Other{0, {"II*\0", 4}, "a TIFF"},
                                Other{0, {"MM\0*", 4}, "a TIFF"}, Other{0, "GIF8", "a GIF"},
                                Other{0, "BM", "a BMP"},          Other{4, "ftypavif", "an AVIF"},
                                Other{4, "ftyphei", "a HEIC"},    Other{4, "ftypmif1", "a HEIC"},
                                Other{4, "jP  ", "a JPEG 2000"},  Other{4, "JXL ", "a JPEG XL"},
                                Other{0, "\xff\x0a", "a JPEG XL"}};

[[noreturn]] void fail_format(std::string_view text, const std::string& name) {
  if (text.empty()) fail_picture(name, "it is empty");
  const auto* other = std::ranges::find_if(kOthers, [&](const Other& row) {
    return text.size() > row.at && text.substr(row.at).starts_with(row.signature);
  });
  if (other == kOthers.end()) {
    fail_artifact(name + ": is not a JPEG or PNG picture; convert it to one of these");
  }
  fail_artifact(name + ": is " + other->name +
                " picture; zoo-run reads JPEG and PNG: convert it, or run `zoo predict MODEL " +
                name + "`");
}

// How much smaller a JPEG may be decoded: its sides keep `scale` of their lengths.
int find_reduction(int64_t width, int64_t height, double scale) {
  if (scale >= 1) return 1;
  const auto kept = [&](int64_t side) {
    return side / static_cast<int64_t>(std::ceil(static_cast<double>(side) * scale));
  };
  const int64_t most = std::min(kept(width), kept(height));
  for (const int reduction : {8, 4, 2}) {
    if (most >= reduction) return reduction;
  }
  return 1;
}

Size upright_size(int64_t width, int64_t height, int orientation) {
  return lies_on_its_side(orientation) ? Size{height, width} : Size{width, height};
}

UprightPicture decode_jpeg(std::span<const std::byte> bytes, const std::string& name,
                           const FindScale& find_scale) {
  JpegReader reader(bytes, name);
  check_pixels(reader.width(), reader.height(), name);
  const int orientation = reader.orientation();
  const Size size = upright_size(reader.width(), reader.height(), orientation);
  const int reduction =
      find_reduction(reader.width(), reader.height(), find_scale(size) * kKeptDetail);
  return {turned_upright(reader.decode(reduction), orientation), size};
}

}  // namespace

std::vector<std::string> picture_formats() { return {"JPEG", "PNG"}; }

void require_picture_formats() {}

UprightPicture decode_upright(std::span<const std::byte> bytes, const std::string& name,
                              const FindScale& find_scale) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with(kJpeg)) return decode_jpeg(bytes, name, find_scale);
  if (!text.starts_with(kPng)) fail_format(text, name);
  auto [picture, orientation] = decode_png(bytes, name);
  const Size size = upright_size(picture.width, picture.height, orientation);
  return {turned_upright(std::move(picture), orientation), size};
}

}  // namespace zoo
