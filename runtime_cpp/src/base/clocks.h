#pragma once

#include <cstdint>

namespace zoo {

// Two clocks, in nanoseconds. Tests bring their own.
struct Clocks {
  int64_t (*steady_ns)();
  int64_t (*system_ns)();
};
[[nodiscard]] Clocks real_clocks();

}  // namespace zoo
