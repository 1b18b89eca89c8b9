#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zoo {

// The text in one line that a terminal only shows: each character that would control it (move the
// cursor, colour, break or turn a line), and each byte that is not UTF-8, becomes '?'.
[[nodiscard]] std::string printable(std::string_view text);

// printf-style formatting into a string.
[[gnu::format(printf, 1, 2)]] [[nodiscard]] std::string format(const char* pattern, ...);

[[nodiscard]] inline double to_ms(int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e6;
}

}  // namespace zoo
