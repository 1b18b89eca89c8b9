#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace zoo {

// Pixels in rows from the top, the channels of a pixel side by side: 1 is grey, 3 is RGB.
struct Picture {
  int64_t width = 0;
  int64_t height = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels = {};

  [[nodiscard]] const uint8_t* row(int64_t y) const { return pixels.data() + offset(y); }
  [[nodiscard]] uint8_t* row(int64_t y) { return pixels.data() + offset(y); }

 private:
  [[nodiscard]] size_t offset(int64_t y) const { return static_cast<size_t>(y * width * channels); }
};

[[nodiscard]] Picture make_picture(int64_t width, int64_t height, int64_t channels);

// From RGB or grey to `channels`; grey is the luma of ITU-R 601, in whole numbers.
[[nodiscard]] Picture with_channels(Picture picture, int64_t channels);

// More pixels than that are not decoded: Pillow's own limit, so that Python takes the same files.
inline constexpr int64_t kMaxPixels = 178'956'970;
// To be called before memory is taken. Fails with exit code 3.
void check_pixels(int64_t width, int64_t height, const std::string& name);

// All refusals of a file that claims to be a picture: exit code 3.
[[noreturn]] void fail_picture(const std::string& name, const std::string& what);

}  // namespace zoo
