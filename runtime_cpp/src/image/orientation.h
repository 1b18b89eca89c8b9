#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "image/picture.h"

namespace zoo {

// How a camera was held, as EXIF counts it: 1 is upright, 2 to 8 are turned or mirrored.
inline constexpr int kUpright = 1;

// What the TIFF block of EXIF says, in its first directory; none where it says nothing, or is
// damaged: a picture is not refused for what stands beside its pixels.
[[nodiscard]] std::optional<int> exif_orientation(std::span<const std::byte> tiff);

// What XMP says, an XML text.
[[nodiscard]] std::optional<int> xmp_orientation(std::string_view xmp);

// Whether width and height change places once the picture is upright.
[[nodiscard]] bool lies_on_its_side(int orientation);

[[nodiscard]] Picture turned_upright(Picture picture, int orientation);

}  // namespace zoo
