#pragma once

#include <charconv>
#include <string>

namespace zoo {

// A wrong command line: exit code 2, and where the options stand.
[[noreturn]] void fail_usage(const std::string& message);

// What was given, in quotes; a long text is cut.
[[nodiscard]] std::string shown(const std::string& text);

// The value of an option that takes a number of min..max; `allowed` says so in words.
template <typename Number>
[[nodiscard]] Number parse_number(const std::string& flag, const std::string& text, Number min,
                                  Number max, const std::string& allowed) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  // Written so that NaN, which compares with nothing, is refused.
  if (parsed.ec != std::errc() || parsed.ptr != end || !(number >= min && number <= max)) {
    fail_usage(flag + " " + shown(text) + ": must be " + allowed);
  }
  return number;
}

}  // namespace zoo
