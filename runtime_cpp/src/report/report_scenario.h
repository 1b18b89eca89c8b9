#pragma once

#include <string>
#include <vector>

#include "measure/conduct.h"
#include "report/report.h"

namespace zoo {

// What a scenario was run with, and what it came to.
struct ScenarioReport {
  ScenarioPlan plan;
  ScenarioResult result = {};
  size_t streams = 1;
  int threads = 1;                           // of each stream
  std::vector<std::vector<int>> cores = {};  // of each stream; empty: none was pinned
  std::vector<std::string> flaws = {};       // of the program; they make it INVALID too
};

// The text has at most 60 columns.
[[nodiscard]] Report report_scenario(const Subject& subject, const ScenarioReport& scenario,
                                     std::span<const Percentile> percentiles, bool strict);

}  // namespace zoo
