#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace zoo {

// A percentile in thousandths, so that ranks are computed in integers: 99.9 is {99900}.
struct Percentile {
  int64_t thousandths = 0;
  // "p90", "p99.9"
  [[nodiscard]] std::string name() const;
};

struct Interval {
  int64_t low = 0;
  int64_t high = 0;
};

// Every `sorted` below is in ascending order and not empty.

// Nearest rank: the smallest sample such that at least p percent of all are no larger.
[[nodiscard]] int64_t percentile(std::span<const int64_t> sorted, Percentile p);

// The same, but only where at least ten samples lie beyond it; fewer say nothing about a tail.
[[nodiscard]] std::optional<int64_t> supported_percentile(std::span<const int64_t> sorted,
                                                          Percentile p);

[[nodiscard]] int64_t median(std::span<const int64_t> sorted);

// The 95 % confidence interval of the median by order statistics: nothing is assumed about the
// distribution. None for fewer than six samples.
[[nodiscard]] std::optional<Interval> median_interval(std::span<const int64_t> sorted);

// These take samples in any order; `drift` in the order of time.
[[nodiscard]] double mean(std::span<const int64_t> samples);
// Sample standard deviation over mean; none for fewer than two samples.
[[nodiscard]] std::optional<double> coefficient_of_variation(std::span<const int64_t> samples);
// median(last half) / median(first half) - 1; an odd middle sample is in neither.
[[nodiscard]] std::optional<double> drift(std::span<const int64_t> samples);

struct Summary {
  int64_t count = 0;
  int64_t median = 0;
  std::optional<Interval> median_interval;
  int64_t min = 0;
  int64_t max = 0;
  double mean = 0;
  std::optional<double> cov;
  std::optional<double> drift;
  std::vector<std::pair<Percentile, std::optional<int64_t>>> percentiles;
};

[[nodiscard]] Summary summarize(std::span<const int64_t> samples,
                                std::span<const Percentile> percentiles);

// steady / system - 1 over one run; none where the system clock did not advance.
[[nodiscard]] std::optional<double> clock_skew(int64_t steady_ns, int64_t system_ns);

// Why the figures must not be believed; empty: VALID.
[[nodiscard]] std::vector<std::string> invalid_reasons(const Summary& summary,
                                                       std::optional<double> skew);

}  // namespace zoo
