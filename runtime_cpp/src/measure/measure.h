#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clocks.h"

namespace zoo {

inline constexpr int64_t kMaxSamples = 10'000'000;

// How long a measurement lasts where the command line does not say: calls and seconds, both to be
// met. They stand here alone; --help and --capabilities print them.
inline constexpr int64_t kDefaultWarmupCalls = 10;
inline constexpr double kDefaultWarmupS = 1;
inline constexpr int64_t kDefaultIterations = 10;
inline constexpr double kDefaultDurationS = 3;

struct MeasurePlan {
  std::optional<int64_t> warmup_calls;  // none: the default calls and seconds
  int64_t min_iterations = 0;           // the run ends when both of these are met
  int64_t min_duration_ns = 0;
};

// The run ends when both are met; one given alone governs alone; neither: the defaults.
[[nodiscard]] MeasurePlan make_plan(std::optional<int64_t> warmup_calls,
                                    std::optional<int64_t> iterations,
                                    std::optional<double> duration_s);

struct Measurement {
  int64_t first_call_ns = 0;
  int64_t second_call_ns = 0;
  int64_t warmup_calls = 0;
  int64_t warmup_ns = 0;
  // The wall time of the timed region, by each clock: from the start of the first timed call to the
  // end of the last, with what runs between the calls.
  int64_t steady_ns = 0;
  int64_t system_ns = 0;
  std::vector<int64_t> samples_ns;
  std::string flaw;                     // what was wrong with the calls themselves; empty: nothing
  std::vector<int64_t> gpu_samples_ns;  // by the GPU's own events; empty on cpu
};

// Samples per second: batch times timed calls over the wall time of the timed region, by the steady
// clock. Not over the sum of the samples: what runs between the calls takes time too.
[[nodiscard]] double throughput_per_s(const Measurement& measurement, int64_t batch);

// Calls `call` again and again. First, second and warm-up calls are kept apart from the samples.
// `between` runs between calls, untimed, and may throw to stop.
[[nodiscard]] Measurement measure(const MeasurePlan& plan, const Clocks& clocks,
                                  const std::function<void()>& call,
                                  const std::function<void()>& between);

}  // namespace zoo
