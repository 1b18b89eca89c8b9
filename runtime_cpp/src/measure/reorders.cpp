#include "measure/reorders.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <ranges>
#include <utility>

namespace zoo {

namespace {

using Shape = std::vector<int64_t>;

// "64x3x7x7"; nothing where it is anything else.
std::optional<Shape> parse_shape(std::string_view text) {
  Shape shape;
  for (const auto part : std::views::split(text, 'x')) {
    int64_t size = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), size);
    if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
    shape.push_back(size);
  }
  return shape;
}

// onednn_verbose,v1,primitive,exec,cpu,reorder,<kernel>,...,<shape>,<ms>
std::optional<Shape> reordered_shape(std::string_view line) {
  const auto has = [&](std::string_view word) { return line.find(word) != line.npos; };
  if (!line.starts_with("onednn_verbose") || !has(",exec,") || !has(",reorder,")) {
    return std::nullopt;
  }
  const size_t end = line.rfind(',');
  const size_t start = line.rfind(',', end - 1) + 1;
  return parse_shape(line.substr(start, end - start));
}

bool is_weight(const Shape& seen, const Shape& weight) {
  if (weight.size() < 2) return false;
  if (seen == weight) return true;
  if (seen.size() == weight.size()) {
    Shape turned = weight;
    std::swap(turned[0], turned[1]);
    return seen == turned;
  }
  if (seen.size() != weight.size() + 1) return false;
  Shape merged(seen.begin() + 1, seen.end());
  merged[0] *= seen[0];
  return merged == weight;
}

}  // namespace

int64_t count_weight_reorders(std::string_view log, const std::vector<Shape>& shapes) {
  int64_t count = 0;
  for (const auto part : std::views::split(log, '\n')) {
    const std::optional<Shape> seen = reordered_shape({part.data(), part.size()});
    count += seen && std::ranges::any_of(
                         shapes, [&](const Shape& weight) { return is_weight(*seen, weight); });
  }
  return count;
}

}  // namespace zoo
