#include "pictures.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <span>

#include "artifact/sealed_file.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "image/decode.h"
#include "image/prepare.h"
#include "machine/machine.h"

namespace zoo {

namespace {

constexpr int64_t kRanked = 5;  // as many classes as zoo predict names

Picture read_picture(const std::string& file, const Preprocessing& pixels) {
  std::error_code unknown;
  if (std::filesystem::is_directory(file, unknown)) {
    fail_artifact(file + ": is a folder; give picture files, such as " + file + "/*.jpg");
  }
  // A copy, so that a file that is cut off meanwhile is not read beyond its end.
  const SealedFile copy = seal(open_regular(file), file, available_memory_bytes());
  const SealedView view(copy);
  return prepare_picture(view.bytes(), file, pixels);
}

}  // namespace

at::Tensor read_pictures(const std::vector<std::string>& files, const Manifest& manifest) {
  require_picture_formats();
  check_preprocessing(manifest);
  const Preprocessing& pixels = *manifest.preprocessing;
  const bool bytes = manifest.input.bytes;
  const at::Tensor input =
      at::empty(with_rows(static_cast<int64_t>(files.size()), manifest.input.shape),
                bytes ? at::kByte : at::kFloat);
  const auto values = static_cast<size_t>(num_values(manifest.input.shape));
  for (size_t i = 0; i < files.size(); ++i) {
    throw_if_interrupted();
    const Picture picture = read_picture(files[i], pixels);
    if (bytes) {
      std::ranges::copy(picture.pixels, input.mutable_data_ptr<uint8_t>() + i * values);
    } else {
      normalise(picture, pixels, {input.mutable_data_ptr<float>() + i * values, values});
    }
  }
  return input;
}

at::Tensor filled_up(const at::Tensor& input, int64_t count) {
  const int64_t missing = count - input.size(0);
  if (missing == 0) return input;
  return at::cat({input, input.narrow(0, input.size(0) - 1, 1).expand({missing, -1, -1, -1})});
}

std::vector<Prediction> rank_classes(const std::vector<std::string>& files,
                                     const at::Tensor& scores) {
  const int64_t count = std::min(kRanked, scores.size(1));
  const auto [probabilities, indices] = scores.softmax(1).topk(count, 1);
  std::vector<Prediction> predictions;
  for (size_t row = 0; row < files.size(); ++row) {
    predictions.push_back({files[row]});
    for (int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<int64_t>(row) * count + i;
      predictions.back().best.push_back(
          {indices.const_data_ptr<int64_t>()[at], probabilities.const_data_ptr<float>()[at]});
    }
  }
  return predictions;
}

}  // namespace zoo
