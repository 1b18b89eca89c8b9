#include "base/paths.h"

#include <algorithm>

namespace zoo {

namespace {
bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}
}  // namespace

std::optional<std::string> unsafe_name(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.front() == '/') return "is absolute";
  if (std::ranges::any_of(name, is_control)) return "holds a control character";
  if (name.find('\\') != std::string_view::npos) return "holds a backslash";
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('/', start), name.size());
    const std::string_view part = name.substr(start, end - start);
    if (part.empty()) return "has an empty part";
    if (part == "." || part == "..") return "holds '" + std::string(part) + "'";
    start = end + 1;
  }
  return std::nullopt;
}

}  // namespace zoo
