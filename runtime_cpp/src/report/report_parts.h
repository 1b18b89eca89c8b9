#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "report/report.h"

namespace zoo {

// What every kind of report is made of.

template <typename T>
[[nodiscard]] OrderedJson or_null(const std::optional<T>& value) {
  return value ? OrderedJson(*value) : OrderedJson();
}

// JSON knows neither NaN nor Infinity.
[[nodiscard]] OrderedJson finite_or_null(double value);

// One line of at most 80 columns; names come from the manifest, so control characters go.
[[nodiscard]] std::string line(const std::string& text);

[[nodiscard]] OrderedJson frame(const Subject& subject);
// The end of a document that frame() began.
void add_footing(OrderedJson& json, const Subject& subject);
[[nodiscard]] std::string heading(const Subject& subject);

}  // namespace zoo
