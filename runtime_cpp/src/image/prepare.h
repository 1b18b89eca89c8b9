#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "artifact/manifest.h"
#include "image/picture.h"

namespace zoo {

// Fails unless pictures can become the artifact's input: with exit code 2 where it does not say
// how, or says it for another size; with 3 where what it says cannot be done.
void check_preprocessing(const Manifest& manifest);

// A picture file as `model.preprocessing` of docs/artifact.md has it: decoded, upright, resized and
// cropped; grey or RGB bytes, height x width. What decode_upright() refuses is refused.
[[nodiscard]] Picture prepare_picture(std::span<const std::byte> bytes, const std::string& name,
                                      const Preprocessing& pixels);

// The pixels as (C, H, W): scaled to 0..1, less the mean, over the standard deviation.
void normalise(const Picture& picture, const Preprocessing& pixels, std::span<float> planes);

}  // namespace zoo
