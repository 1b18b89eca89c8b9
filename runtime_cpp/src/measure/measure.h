#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/clocks.h"

namespace zoo {

inline constexpr int64_t kMaxSamples = 10'000'000;

struct MeasurePlan {
  std::optional<int64_t> warmup_calls;  // none: until both 10 calls and 1 s
  int64_t min_iterations = 0;           // the run ends when both of these are met
  int64_t min_duration_ns = 0;
};

// The run ends when both are met; one given alone governs alone; neither: 10 calls and 3 s.
[[nodiscard]] MeasurePlan make_plan(std::optional<int64_t> warmup_calls,
                                    std::optional<int64_t> iterations,
                                    std::optional<double> duration_s);

struct Measurement {
  int64_t first_call_ns = 0;
  int64_t second_call_ns = 0;
  int64_t warmup_calls = 0;
  int64_t warmup_ns = 0;
  int64_t steady_ns = 0;  // the timed loop as a whole, by each clock
  int64_t system_ns = 0;
  std::vector<int64_t> samples_ns;
  std::vector<int64_t> gpu_samples_ns;  // by the GPU's own events; empty on cpu
};

// Calls `call` again and again. First, second and warm-up calls are kept apart from the samples.
// `between` runs between calls, untimed, and may throw to stop.
[[nodiscard]] Measurement measure(const MeasurePlan& plan, const Clocks& clocks,
                                  const std::function<void()>& call,
                                  const std::function<void()>& between);

}  // namespace zoo
