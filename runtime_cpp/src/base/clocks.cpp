#include "base/clocks.h"

#include <chrono>

namespace zoo {

namespace {

template <typename Clock>
int64_t now_ns() {
  const auto since_epoch = Clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count();
}

}  // namespace

Clocks real_clocks() {
  return {now_ns<std::chrono::steady_clock>, now_ns<std::chrono::system_clock>};
}

}  // namespace zoo
