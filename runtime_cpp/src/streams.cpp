#include "streams.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "machine/pinning.h"

namespace zoo {

namespace {

// Another input of the same kind, which differs from every other salt's: floats of the size of
// normalised pixels, or any bytes, in the first places.
void write_salt(at::Tensor& input, uint64_t salt) {
  if (input.scalar_type() == at::kByte) {
    const size_t count = std::min(input.nbytes(), sizeof(salt));
    std::memcpy(input.mutable_data_ptr(), &salt, count);
    return;
  }
  constexpr uint64_t kSteps = 1 << 20;
  const std::array<float, 2> values = {static_cast<float>(salt % kSteps) / kSteps,
                                       static_cast<float>(salt / kSteps % kSteps) / kSteps};
  const size_t count = std::min(input.nbytes(), sizeof(values));
  std::memcpy(input.mutable_data_ptr(), values.data(), count);
}

}  // namespace

uint64_t hash_outputs(const std::vector<at::Tensor>& outputs) {
  uint64_t state = outputs.size();
  for (const at::Tensor& output : outputs) {
    const at::Tensor values = output.contiguous();
    state =
        mix_bytes(state, {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  }
  return state;
}

std::vector<Sample> ordinary(std::vector<Sample> samples, int64_t batch) {
  const auto count = std::max<int64_t>(1, kOrdinaryRows / batch);
  samples.resize(std::min(samples.size(), static_cast<size_t>(count)));
  return samples;
}

ScenarioPlan plan_scenario(const Options& options) {
  return {.scenario = options.scenario,
          .warmup = options.warmup,
          .iterations = options.iterations,
          .duration_s = options.duration_s,
          .rate = options.rate,
          .p99_ms = options.p99_ms.value_or(0),
          .seed = static_cast<uint64_t>(options.seed.value_or(0))};
}

Streams::Streams(const Manifest& manifest, Engine& engine, std::vector<Sample> samples,
                 size_t streams, int threads, std::vector<std::vector<int>> cores)
    : engine_(engine),
      samples_(std::move(samples)),
      threads_(threads),
      cores_(std::move(cores)),
      filled_(samples_.front().input.clone()),
      streams_(streams) {
  if (streams > 1 && !engine.is_shared()) {
    fail_machine(std::to_string(streams) + " streams cannot share the engine of " +
                 manifest.backend + ": give --streams 1");
  }
}

void Streams::enter(size_t stream) {
  if (!cores_.empty()) streams_[stream].pinned = pin_this_thread(cores_[stream]);
  at::set_num_threads(threads_);  // OpenMP's number is that of each thread that starts others
}

void Streams::call(size_t stream, size_t sample) {
  const c10::InferenceMode no_gradients;
  const at::Tensor& input = sample == kFilled ? filled_ : samples_[sample].input;
  streams_[stream].outputs = engine_.run(input);
}

bool Streams::is_right(size_t stream, size_t sample) {
  const c10::InferenceMode no_gradients;
  return hash_outputs(streams_[stream].outputs) == samples_[sample].hash;
}

void Streams::fill(size_t sample, uint64_t salt) {
  const c10::InferenceMode no_gradients;
  const at::Tensor& input = samples_[sample].input;
  std::memcpy(filled_.mutable_data_ptr(), input.const_data_ptr(), input.nbytes());
  if (salt != 0) write_salt(filled_, salt);
}

bool Streams::is_pinned() const {
  return std::ranges::all_of(streams_, [](const Stream& stream) { return stream.pinned; });
}

}  // namespace zoo
