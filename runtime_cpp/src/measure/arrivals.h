#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace zoo {

// When queries arrive in the server scenario, and which rate a program sustains.

// Nanoseconds after the start, ascending: a Poisson process, as of many people who do not know of
// each other. The gaps are exponential with a mean of 1 / rate.
[[nodiscard]] std::vector<int64_t> poisson_arrivals(double rate_per_s, size_t count, uint64_t seed);

// One rate that was tried.
struct RateStep {
  double rate_per_s = 0;
  int64_t queries = 0;  // that were answered; fewer than planned where it failed early
  std::optional<int64_t> p99_ns = {};  // none where they were too few
  bool passed = false;
  bool confirms = false;  // a rate that had passed, with other arrivals
};

struct RateSearch {
  std::vector<RateStep> steps;  // in the order in which they were tried
  std::optional<double> rate;   // the highest that passed and was confirmed
};

// Looks for the highest rate that passes: halves from `start` until one passes (4 times at most) or
// doubles until one fails, then bisects between the two. A lucky rate could pass once, so the
// highest one is tried again, and where it fails the next one below. At most 20 steps.
[[nodiscard]] RateSearch search_rate(double start,
                                     const std::function<RateStep(double rate)>& attempt);

}  // namespace zoo
