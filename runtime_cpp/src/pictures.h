#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "artifact/manifest.h"
#include "report/report.h"

namespace zoo {

// Picture files as the artifact's input: (N, C, H, W) float32 or (N, H, W, C) uint8, as its
// manifest describes. Fails with exit code 3 for a file that is no picture; with 4 where this
// zoo-run was built without pictures; as check_preprocessing() does where the artifact takes none.
[[nodiscard]] at::Tensor read_pictures(const std::vector<std::string>& files,
                                       const Manifest& manifest);

// The rows of `input`, and its last one again until there are `count`.
[[nodiscard]] at::Tensor filled_up(const at::Tensor& input, int64_t count);

// The most likely classes of each row of the scores (N, classes), with the softmax of the scores.
[[nodiscard]] std::vector<Prediction> rank_classes(const std::vector<std::string>& files,
                                                   const at::Tensor& scores);

}  // namespace zoo
