#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "measure/arrivals.h"
#include "measure/repetition.h"
#include "measure/scenario.h"
#include "measure/stats.h"

namespace zoo {

// A scenario from its warm-up to its verdict.

inline constexpr Percentile kServerPercentile = {99'000};
inline constexpr int64_t kDefaultServerQueries = 1000;  // as many as a p99 needs

// What was asked. Empty optionals mean what they mean in MeasurePlan.
struct ScenarioPlan {
  Scenario scenario = Scenario::kOffline;
  std::optional<int64_t> warmup = {};
  std::optional<int64_t> iterations = {};
  std::optional<double> duration_s = {};
  std::optional<double> rate = {};  // of the server, queries per second; none: looked for
  double p99_ms = 0;                // of the server
  uint64_t seed = 0;
};

struct ScenarioResult {
  ScenarioRun warmup;  // queries of one call in each stream
  ScenarioRun run;
  std::optional<double> rate;    // of the run; none but for a server
  std::vector<RateStep> search;  // empty where the rate was given
  Repetition repetition;
  std::vector<std::string> reasons;  // why the figures must not be believed; empty: VALID
};

// Warms up, runs the scenario and tests whether answers are kept. Fails with what a call throws.
[[nodiscard]] ScenarioResult conduct(Team& team, System& system, const ScenarioPlan& plan,
                                     const Clocks& clocks);

}  // namespace zoo
