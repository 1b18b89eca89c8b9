#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "artifact/manifest.h"
#include "engines/engine.h"
#include "measure/measure.h"
#include "report/report.h"
#include "torch/gpu_timer.h"

namespace zoo {

// The timed calls of a loaded program, always with the same rows.
class Calls {
 public:
  // `input` lies on the device. All of it must live as long as this.
  Calls(const Manifest& manifest, const Program& program, Engine& engine, at::Tensor input);

  [[nodiscard]] int64_t batch() const { return input_.size(0); }

  // Calls it as planned. The outputs are checked before the first and after the last timed call.
  [[nodiscard]] Measurement measure(const MeasurePlan& plan);

  // Whether the last call gave what the first one gave.
  [[nodiscard]] Stability stability() const;

  // Why the times are not those of the program; empty: nothing. Calls it once more.
  [[nodiscard]] std::string find_flaw();

 private:
  void check_outputs() const;

  const Manifest& manifest_;
  const Program& program_;
  Engine& engine_;
  at::Tensor input_;
  GpuTimer timer_;
  std::vector<at::Tensor> outputs_;
  std::vector<at::Tensor> first_;
};

// Float32 on cpu, whatever the device and layout they came in.
[[nodiscard]] std::vector<at::Tensor> to_host(std::vector<at::Tensor> outputs);

}  // namespace zoo
