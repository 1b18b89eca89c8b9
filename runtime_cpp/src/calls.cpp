#include "calls.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/clocks.h"
#include "base/interrupt.h"
#include "torch/tensors.h"
#include "torch/torch_errors.h"
#include "torch/torch_machine.h"

namespace zoo {

namespace {

Stability compare_outputs(const std::vector<at::Tensor>& first,
                          const std::vector<at::Tensor>& last) {
  Stability stability{true, 0.0};
  for (size_t i = 0; i < first.size(); ++i) {
    // Bytes, not values: equal NaNs are the same output.
    if (std::memcmp(first[i].const_data_ptr(), last[i].const_data_ptr(), first[i].nbytes()) == 0) {
      continue;
    }
    stability.identical = false;
    const auto largest = at::sub(first[i], last[i]).abs().max().item<double>();
    if (!std::isfinite(largest)) return {false, std::nullopt};
    stability.max_abs_difference = std::max(*stability.max_abs_difference, largest);
  }
  return stability;
}

// The last `count`; all where there are fewer.
std::vector<int64_t> last(const std::vector<int64_t>& samples, size_t count) {
  return {samples.end() - static_cast<std::ptrdiff_t>(std::min(count, samples.size())),
          samples.end()};
}

}  // namespace

std::vector<at::Tensor> to_host(std::vector<at::Tensor> outputs) {
  for (at::Tensor& output : outputs) output = output.to(at::kCPU).contiguous();
  return outputs;
}

Calls::Calls(const Manifest& manifest, const Program& program, Engine& engine, at::Tensor input)
    : manifest_(manifest),
      program_(program),
      engine_(engine),
      input_(std::move(input)),
      timer_(input_.device().type()) {}

Measurement Calls::measure(const MeasurePlan& plan) {
  std::vector<int64_t> gpu_ns;  // of every call so far
  const auto take_gpu_time = [&] {
    if (const auto ns = timer_.take_ns()) gpu_ns.push_back(*ns);
  };
  // The program, and on a GPU the wait for it. The input is there already.
  const auto timed_call = [&] {
    timer_.start();
    outputs_ = engine_.run(input_);
    timer_.stop();
    synchronize(manifest_.device);
  };
  const auto between = [&] {
    take_gpu_time();
    if (first_.empty() && !outputs_.empty()) {
      check_outputs();
      for (const at::Tensor& output : to_host(outputs_)) first_.push_back(output.clone());
    }
    throw_if_interrupted();
  };
  Measurement measurement = with_torch_errors(program_.file + ": cannot be run", [&] {
    Measurement measured = zoo::measure(plan, real_clocks(), timed_call, between);
    take_gpu_time();
    return measured;
  });
  measurement.gpu_samples_ns = last(gpu_ns, measurement.samples_ns.size());
  check_outputs();
  return measurement;
}

Stability Calls::stability() const { return compare_outputs(first_, to_host(outputs_)); }

std::string Calls::find_flaw() {
  return with_torch_errors(program_.file + ": cannot be run",
                           [&] { return engine_.find_flaw(input_); });
}

void Calls::check_outputs() const {
  validate_outputs(outputs_, input_.size(0), manifest_, program_.file);
}

}  // namespace zoo
