#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace zoo {

// The packed weights of a loaded .pt2. oneDNN's layout of a weight depends on the CPU, the number
// of threads and the batch, so the file holds plain weights; compile/backends/packing.py says how.
class Packs {
 public:
  // Packs what the file packs itself. The number of threads must be set before, and stay.
  explicit Packs(torch::inductor::AOTIModelPackageLoader& loader);

  // To be called before each call: packs the convolutions whose batch the file leaves open. That
  // takes as long as reordering them in one call, so it is done only when the batch changes.
  void fit(int64_t batch);

  // Of all constants in the file, packed or not.
  [[nodiscard]] std::vector<std::vector<int64_t>> shapes() const;

  // Why a weight is not packed for `threads` threads here, as far as the file says: "built for 2
  // threads".
  [[nodiscard]] std::string why_not(int threads) const;

 private:
  // One convolution: how its weight is packed for a batch.
  struct Convolution {
    std::string weight;  // its name for the loader
    std::vector<int64_t> padding, stride, dilation, sample;
    int64_t groups = 1;
  };
  using Tensors = std::unordered_map<std::string, at::Tensor>;

  [[nodiscard]] static std::vector<Convolution> read_notes(const std::string& text);

  torch::inductor::AOTIModelPackageLoader& loader_;
  std::unordered_map<std::string, std::string> metadata_;
  std::vector<Convolution> open_;  // those without a batch
  Tensors plain_;                  // every constant as it lies in the file
  Tensors packed_;                 // what the program uses without owning it
  int64_t batch_ = 0;              // what they are packed for
  bool folds_ = false;             // whether the file packs weights itself
};

}  // namespace zoo
