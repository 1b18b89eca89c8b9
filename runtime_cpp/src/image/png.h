#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "image/picture.h"

namespace zoo {

struct PngPicture {
  Picture picture;  // as it is stored, grey or RGB, 8 bits; alpha is left out
  int orientation = 1;
};

// A PNG file in memory; `name` is the file's, for messages. A checksum that does not fit, a file
// that ends too early and everything else that is not right is exit code 3.
[[nodiscard]] PngPicture decode_png(std::span<const std::byte> bytes, const std::string& name);

}  // namespace zoo
