#pragma once

#include <cstdint>

#include "image/picture.h"

namespace zoo {

// Both average over all pixels that a smaller picture's pixel covers.
enum class Filter { kBilinear, kBicubic };

struct Size {
  int64_t width = 0;
  int64_t height = 0;
};

// A part of a picture, in pixels.
struct Box {
  int64_t left = 0;
  int64_t top = 0;
  int64_t width = 0;
  int64_t height = 0;
};

// The part `box` of the picture once all of it is resized to `whole`. Only what the box needs is
// computed. First each row is filtered, then each column, both rounded to 8 bits with weights of 22
// bits: what Pillow computes, to the last bit.
[[nodiscard]] Picture resample(const Picture& picture, const Size& whole, const Box& box,
                               Filter filter);

}  // namespace zoo
