#include "base/clocks.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/interrupt.h"

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

void sleep_until(int64_t steady_ns) {
  constexpr int64_t kNoticeNs = 50'000'000;  // how late a signal is noticed, at most
  while (true) {
    throw_if_interrupted();
    const int64_t left = steady_ns - now_ns<std::chrono::steady_clock>();
    if (left <= 0) return;
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(left, kNoticeNs)));
  }
}

}  // namespace zoo
