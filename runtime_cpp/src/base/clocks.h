#pragma once

#include <cstdint>

namespace zoo {

// Two clocks, in nanoseconds. Tests bring their own.
struct Clocks {
  int64_t (*steady_ns)();
  int64_t (*system_ns)();
};
[[nodiscard]] Clocks real_clocks();

// Sleeps until the real steady clock shows `steady_ns`; not at all where it is past. Fails with 130
// or 143 once a signal has come.
void sleep_until(int64_t steady_ns);

}  // namespace zoo
