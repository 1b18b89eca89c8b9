#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "artifact/manifest.h"
#include "engines/engine.h"
#include "measure/conduct.h"
#include "measure/scenario.h"
#include "options.h"

namespace zoo {

// The input of a call, on cpu, and the hash of the answer that was checked.
struct Sample {
  at::Tensor input;
  uint64_t hash = 0;
};

// Of all outputs, wherever they lie.
[[nodiscard]] uint64_t hash_outputs(const std::vector<at::Tensor>& outputs);

// Those of the samples whose rows are all ordinary, as far as there are any: they come first.
[[nodiscard]] std::vector<Sample> ordinary(std::vector<Sample> samples, int64_t batch);

[[nodiscard]] ScenarioPlan plan_scenario(const Options& options);

// A loaded program on cpu, as several streams call it: they share the engine and its weights.
class Streams final : public System {
 public:
  // Each of `cores` is for one stream; empty: none is pinned. `threads` are those of each stream.
  // Fails with exit code 4 where several streams cannot share the engine.
  Streams(const Manifest& manifest, Engine& engine, std::vector<Sample> samples, size_t streams,
          int threads, std::vector<std::vector<int>> cores);

  [[nodiscard]] size_t streams() const override { return streams_.size(); }
  [[nodiscard]] size_t samples() const override { return samples_.size(); }
  void enter(size_t stream) override;
  void call(size_t stream, size_t sample) override;
  [[nodiscard]] bool is_right(size_t stream, size_t sample) override;
  void fill(size_t sample, uint64_t salt) override;

  [[nodiscard]] const at::Tensor& sample_input() const { return samples_.front().input; }

  // Whether the system pinned every stream to its cores.
  [[nodiscard]] bool is_pinned() const;

 private:
  Engine& engine_;
  std::vector<Sample> samples_;
  int threads_;
  std::vector<std::vector<int>> cores_;
  at::Tensor filled_;
  struct alignas(64) Stream {
    std::vector<at::Tensor> outputs;
    bool pinned = false;
  };
  std::vector<Stream> streams_;
};

}  // namespace zoo
