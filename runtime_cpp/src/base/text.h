#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace zoo {

// printf-style formatting into a string.
[[gnu::format(printf, 1, 2)]] [[nodiscard]] std::string format(const char* pattern, ...);

[[nodiscard]] inline double to_ms(int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e6;
}

}  // namespace zoo
