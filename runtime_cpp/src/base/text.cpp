#include "base/text.h"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace zoo {

namespace {

bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

struct Character {
  size_t bytes = 1;
  bool plain = false;
};

// The UTF-8 character that the text starts with; one byte that is not plain where that is none.
Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, !is_control(lead)};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc0 || lead >= 0xf8 || text.size() < bytes) return {};
  char32_t c = lead & (0x7fU >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    c = (c << 6) | (byte(i) & 0x3fU);
  }
  constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = c >= 0xd800 && c <= 0xdfff;
  if (c < kSmallest.at(bytes) || c > 0x10ffff || is_surrogate) return {};
  return {bytes, !is_control(c)};
}

}  // namespace

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const auto [bytes, plain] = first_character(text);
    clean += plain ? text.substr(0, bytes) : "?";
    text.remove_prefix(bytes);
  }
  return clean;
}

std::string format(const char* pattern, ...) {
  va_list arguments;
  va_list again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(length > 0 ? static_cast<size_t>(length) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

}  // namespace zoo
