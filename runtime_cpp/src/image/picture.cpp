#include "image/picture.h"

#include "base/error.h"

namespace zoo {

namespace {

// 0.299 R + 0.587 G + 0.114 B in units of 2^-16.
uint8_t luma(const uint8_t* pixel) {
  constexpr uint32_t kHalf = 1U << 15;
  return static_cast<uint8_t>(
      (pixel[0] * 19'595U + pixel[1] * 38'470U + pixel[2] * 7'471U + kHalf) >> 16);
}

}  // namespace

Picture make_picture(int64_t width, int64_t height, int64_t channels) {
  Picture picture{width, height, channels};
  picture.pixels.resize(static_cast<size_t>(width * height * channels));
  return picture;
}

Picture with_channels(Picture picture, int64_t channels) {
  if (picture.channels == channels) return picture;
  Picture changed = make_picture(picture.width, picture.height, channels);
  const uint8_t* from = picture.pixels.data();
  uint8_t* to = changed.pixels.data();
  for (int64_t i = 0; i < picture.width * picture.height; ++i) {
    if (channels == 1) {
      *to++ = luma(from);
      from += 3;
    } else {
      for (int64_t c = 0; c < channels; ++c) *to++ = *from;
      ++from;
    }
  }
  return changed;
}

void check_pixels(int64_t width, int64_t height, const std::string& name) {
  if (width * height <= kMaxPixels) return;
  fail_artifact(name + ": claims " + std::to_string(width) + "x" + std::to_string(height) +
                " pixels, at most " + std::to_string(kMaxPixels) + " are read; make it smaller");
}

void fail_picture(const std::string& name, const std::string& what) {
  fail_artifact(name + ": not a readable picture (" + what + "); replace or remove it");
}

}  // namespace zoo
