#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "image/picture.h"
#include "image/resample.h"

namespace zoo {

// The formats that this zoo-run reads: "JPEG" and "PNG", or none where it was built without them.
[[nodiscard]] std::vector<std::string> picture_formats();

// Fails with exit code 4 where this zoo-run was built without pictures.
void require_picture_formats();

struct UprightPicture {
  Picture picture;  // grey or RGB
  Size size;        // in the file; a JPEG may have been decoded smaller
};

// By which factor a picture of this size will be resized.
using FindScale = std::function<double(const Size&)>;

// A JPEG is decoded smaller if it still has this many times its final width and height.
inline constexpr int kKeptDetail = 2;

// The picture of a file, turned as it was taken. `name` is the file's. Fails with exit code 3 for
// another format, and for a file that is damaged, ends too early or has too many pixels.
[[nodiscard]] UprightPicture decode_upright(std::span<const std::byte> bytes,
                                            const std::string& name, const FindScale& find_scale);

}  // namespace zoo
