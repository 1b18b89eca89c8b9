#include "image/prepare.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/decode.h"
#include "image/resample.h"

namespace zoo {

namespace {

constexpr const char* kInstead = "; give --input FILE, a tensor";

[[noreturn]] void refuse(const std::string& message) {
  throw RunnerError(ExitCode::kUsage, "--image: " + message + kInstead);
}

std::string shape_text(int64_t channels, int64_t height, int64_t width) {
  return std::to_string(channels) + "x" + std::to_string(height) + "x" + std::to_string(width);
}

double share(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

// Half to even, as Python rounds.
int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

// To which size all of a picture is resized before its centre is cropped.
Size resized(const Size& size, const Preprocessing& pixels) {
  if (!pixels.resize) {
    const double scale =
        std::max(share(pixels.height, size.height), share(pixels.width, size.width));
    return {std::max(pixels.width, rounded(static_cast<double>(size.width) * scale)),
            std::max(pixels.height, rounded(static_cast<double>(size.height) * scale))};
  }
  const int64_t shorter = *pixels.resize;
  if (size.width <= size.height) {
    return {shorter, static_cast<int64_t>(share(shorter * size.height, size.width))};
  }
  return {static_cast<int64_t>(share(shorter * size.width, size.height)), shorter};
}

Box centre(const Size& whole, const Preprocessing& pixels) {
  const auto margin = [&](int64_t all, int64_t part) {
    return pixels.resize ? rounded(share(all - part, 2)) : (all - part) / 2;
  };
  return {margin(whole.width, pixels.width), margin(whole.height, pixels.height), pixels.width,
          pixels.height};
}

}  // namespace

void check_preprocessing(const Manifest& manifest) {
  if (!manifest.preprocessing) {
    refuse("the artifact does not say how pixels become its input");
  }
  const Preprocessing& pixels = *manifest.preprocessing;
  if (pixels.channels != 1 && pixels.channels != 3) {
    refuse("the artifact's input has " + std::to_string(pixels.channels) +
           " channels; a picture has 1 or 3");
  }
  const std::vector<int64_t>& shape = manifest.input.shape;
  const std::string wanted = manifest.input.bytes ? shape_text(shape[2], shape[0], shape[1])
                                                  : shape_text(shape[0], shape[1], shape[2]);
  const std::string prepared = shape_text(pixels.channels, pixels.height, pixels.width);
  if (prepared != wanted) {
    refuse("the preprocessing gives " + prepared + ", but the program takes " + wanted);
  }
  const auto channels = static_cast<size_t>(pixels.channels);
  if (pixels.mean.size() != channels || pixels.std.size() != channels) {
    fail_artifact("manifest.json: model.preprocessing: mean and std need one number for each of " +
                  std::to_string(channels) + " channels; rebuild the artifact");
  }
  if (pixels.resize && *pixels.resize < std::max(pixels.height, pixels.width)) {
    fail_artifact("manifest.json: model.preprocessing: resize " + std::to_string(*pixels.resize) +
                  " is smaller than the crop; rebuild the artifact");
  }
}

Picture prepare_picture(std::span<const std::byte> bytes, const std::string& name,
                        const Preprocessing& pixels) {
  auto [picture, size] = decode_upright(bytes, name, [&](const Size& upright) {
    const Size whole = resized(upright, pixels);
    return std::max(share(whole.width, upright.width), share(whole.height, upright.height));
  });
  const Size whole = resized(size, pixels);
  const Filter filter = pixels.bicubic ? Filter::kBicubic : Filter::kBilinear;
  // Colours go before the filter, which rounds; grey may be repeated after it, with less work.
  const int64_t channels = std::min(picture.channels, pixels.channels);
  const Picture fitting = with_channels(std::move(picture), channels);
  return with_channels(resample(fitting, whole, centre(whole, pixels), filter), pixels.channels);
}

void normalise(const Picture& picture, const Preprocessing& pixels, std::span<float> planes) {
  const auto channels = static_cast<size_t>(picture.channels);
  const size_t count = picture.pixels.size() / channels;
  for (size_t c = 0; c < channels; ++c) {
    const auto mean = static_cast<float>(pixels.mean[c]);
    const auto std = static_cast<float>(pixels.std[c]);
    for (size_t i = 0; i < count; ++i) {
      const auto value = static_cast<float>(picture.pixels[i * channels + c]) / 255.0F;
      planes[c * count + i] = (value - mean) / std;
    }
  }
}

}  // namespace zoo
