#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "measure/stats.h"
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

// The percentiles that were asked for, with p90 and p99.
[[nodiscard]] std::vector<Percentile> with_usual(std::span<const Percentile> asked);
[[nodiscard]] OrderedJson latency_json(const Summary& summary);
// Below a line that says what the figures are of. `too_few` is said of a percentile without one.
[[nodiscard]] std::string latency_text(const Summary& summary, const std::string& title,
                                       const std::string& too_few);
[[nodiscard]] std::string verdict_text(const std::vector<std::string>& reasons);

}  // namespace zoo
