#include "image/resample.h"

#include <gtest/gtest.h>

namespace zoo {
namespace {

Picture picture(int64_t width, int64_t height, int64_t channels, std::vector<uint8_t> pixels) {
  return {width, height, channels, std::move(pixels)};
}

// Values without any pattern.
Picture noise(int64_t width, int64_t height, int64_t channels) {
  Picture made = make_picture(width, height, channels);
  uint32_t state = 1;
  for (uint8_t& value : made.pixels) {
    state = state * 1'664'525U + 1'013'904'223U;
    value = static_cast<uint8_t>(state >> 24);
  }
  return made;
}

std::vector<uint8_t> row(const std::vector<uint8_t>& pixels, int64_t width, Filter filter) {
  const auto from = static_cast<int64_t>(pixels.size());
  return resample(picture(from, 1, 1, pixels), {width, 1}, {0, 0, width, 1}, filter).pixels;
}

// The triangle over two pixels reaches one more on either side: weights 1, 3, 3, 1 of 8.
TEST(Resample, AveragesWhatAPixelCovers) {
  EXPECT_EQ(row({0, 0, 80, 80, 0, 0}, 3, Filter::kBilinear), (std::vector<uint8_t>{11, 60, 11}));
  EXPECT_EQ(row({10, 20, 30, 40}, 4, Filter::kBilinear), (std::vector<uint8_t>{10, 20, 30, 40}));
  EXPECT_EQ(row({7}, 3, Filter::kBilinear), (std::vector<uint8_t>{7, 7, 7}));
}

TEST(Resample, InterpolatesWhereItEnlarges) {
  EXPECT_EQ(row({0, 100}, 4, Filter::kBilinear), (std::vector<uint8_t>{0, 25, 75, 100}));
}

// Keys' weights at a distance of 1/4: -9/128, 111/128, 29/128, -3/128.
TEST(Resample, BicubicOvershootsAndIsCut) {
  EXPECT_EQ(row({0, 0, 128, 0, 0}, 10, Filter::kBicubic),
            (std::vector<uint8_t>{0, 0, 0, 29, 111, 111, 29, 0, 0, 0}));
  EXPECT_EQ(row({255, 255, 0, 255, 255}, 10, Filter::kBicubic),
            (std::vector<uint8_t>{255, 255, 255, 197, 34, 34, 197, 255, 255, 255}));
}

TEST(Resample, KeepsAPlainColour) {
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
    for (const int64_t size : {1, 3, 17, 64, 500}) {
      Picture plain = make_picture(33, 21, 3);
      for (size_t i = 0; i < plain.pixels.size(); ++i) plain.pixels[i] = i % 3 == 0 ? 255 : 77;
      const Picture resized = resample(plain, {size, size}, {0, 0, size, size}, filter);
      for (size_t i = 0; i < resized.pixels.size(); ++i) {
        ASSERT_EQ(resized.pixels[i], i % 3 == 0 ? 255 : 77) << size;
      }
    }
  }
}

TEST(Resample, APartIsThatOfTheWhole) {
  const Picture from = noise(37, 53, 3);
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
    for (const Size size : {Size{20, 31}, Size{80, 70}}) {
      const Picture whole = resample(from, size, {0, 0, size.width, size.height}, filter);
      const Box box{3, 5, 11, 7};
      const Picture part = resample(from, size, box, filter);
      ASSERT_EQ(part.pixels.size(), 11u * 7u * 3u);
      for (int64_t y = 0; y < box.height; ++y) {
        const uint8_t* wanted = whole.row(box.top + y) + box.left * 3;
        EXPECT_TRUE(std::equal(part.row(y), part.row(y) + box.width * 3, wanted));
      }
    }
  }
}

// Only what the box needs is computed: all of this picture would be 3 x 10^12 pixels.
TEST(Resample, CostsWhatTheBoxCosts) {
  const Picture from = noise(2, 3, 1);
  const Picture part =
      resample(from, {1'000'000, 1'500'000}, {500'000, 750'000, 4, 4}, Filter::kBicubic);
  EXPECT_EQ(part.pixels.size(), 16u);
}

TEST(Picture, GreyIsTheLumaOfColours) {
  const Picture grey =
      with_channels(picture(4, 1, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9}), 1);
  EXPECT_EQ(grey.pixels, (std::vector<uint8_t>{76, 150, 29, 9}));
  EXPECT_EQ(with_channels(picture(2, 1, 1, {3, 4}), 3).pixels,
            (std::vector<uint8_t>{3, 3, 3, 4, 4, 4}));
}

}  // namespace
}  // namespace zoo
