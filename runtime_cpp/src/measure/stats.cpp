#include "measure/stats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace zoo {

namespace {

constexpr int64_t kWhole = 100'000;  // 100 % in thousandths of a percent
constexpr int64_t kSamplesBeyond = 10;
constexpr int64_t kExactCount = 1000;  // up to here 2^-n is well inside a double's range
constexpr double kTail = 0.025;
constexpr double kNormalQuantile = 1.959964;  // of 1 - kTail
constexpr double kMaxSkew = 0.01;
constexpr double kMaxHalfWidth = 0.05;
constexpr double kMaxDrift = 0.05;

// The largest rank l with P(Bin(n, 1/2) <= l - 1) <= kTail; 0 where there is none.
int64_t lower_rank_exact(int64_t n) {
  double term = std::exp2(-static_cast<double>(n));
  double cumulative = 0;
  for (int64_t k = 0; k < n; ++k) {
    cumulative += term;
    if (cumulative > kTail) return k;
    term *= static_cast<double>(n - k) / static_cast<double>(k + 1);
  }
  return 0;
}

int64_t lower_rank(int64_t n) {
  if (n <= kExactCount) return lower_rank_exact(n);
  const auto count = static_cast<double>(n);
  const double rank = std::floor((count - kNormalQuantile * std::sqrt(count)) / 2);
  return std::max<int64_t>(1, static_cast<int64_t>(rank));
}

int64_t median_of(std::span<const int64_t> samples) {
  std::vector<int64_t> sorted(samples.begin(), samples.end());
  std::ranges::sort(sorted);
  return median(sorted);
}

std::string percent(double fraction) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %%", fraction * 100);
  return text.data();
}

}  // namespace

std::string Percentile::name() const {
  std::string text = "p" + std::to_string(thousandths / 1000);
  if (thousandths % 1000 == 0) return text;
  std::string digits = std::to_string(1000 + thousandths % 1000).substr(1);
  digits.erase(digits.find_last_not_of('0') + 1);
  return text + "." + digits;
}

int64_t percentile(std::span<const int64_t> sorted, Percentile p) {
  const auto n = static_cast<int64_t>(sorted.size());
  const int64_t rank = (p.thousandths * n + kWhole - 1) / kWhole;
  return sorted[static_cast<size_t>(std::clamp<int64_t>(rank, 1, n) - 1)];
}

std::optional<int64_t> supported_percentile(std::span<const int64_t> sorted, Percentile p) {
  if (p.thousandths == kWhole / 2) return median(sorted);
  const auto n = static_cast<int64_t>(sorted.size());
  if (n * (kWhole - p.thousandths) < kSamplesBeyond * kWhole) return std::nullopt;
  return percentile(sorted, p);
}

int64_t median(std::span<const int64_t> sorted) { return percentile(sorted, {kWhole / 2}); }

std::optional<Interval> median_interval(std::span<const int64_t> sorted) {
  const size_t n = sorted.size();
  const auto rank = static_cast<size_t>(lower_rank(static_cast<int64_t>(n)));
  if (rank < 1) return std::nullopt;
  return Interval{sorted[rank - 1], sorted[n - rank]};
}

double mean(std::span<const int64_t> samples) {
  double sum = 0;
  for (const int64_t sample : samples) sum += static_cast<double>(sample);
  return sum / static_cast<double>(samples.size());
}

std::optional<double> coefficient_of_variation(std::span<const int64_t> samples) {
  const double center = mean(samples);
  if (samples.size() < 2 || center <= 0) return std::nullopt;
  double squares = 0;
  for (const int64_t sample : samples) {
    const double distance = static_cast<double>(sample) - center;
    squares += distance * distance;
  }
  return std::sqrt(squares / static_cast<double>(samples.size() - 1)) / center;
}

std::optional<double> drift(std::span<const int64_t> samples) {
  const size_t half = samples.size() / 2;
  if (half == 0) return std::nullopt;
  const int64_t first = median_of(samples.first(half));
  const int64_t last = median_of(samples.last(half));
  if (first <= 0) return std::nullopt;
  return static_cast<double>(last) / static_cast<double>(first) - 1;
}

Summary summarize(std::span<const int64_t> samples, std::span<const Percentile> percentiles) {
  std::vector<int64_t> sorted(samples.begin(), samples.end());
  std::ranges::sort(sorted);
  Summary summary;
  summary.count = static_cast<int64_t>(sorted.size());
  summary.median = median(sorted);
  summary.median_interval = median_interval(sorted);
  summary.min = sorted.front();
  summary.max = sorted.back();
  summary.mean = mean(samples);
  summary.cov = coefficient_of_variation(samples);
  summary.drift = drift(samples);
  for (const Percentile p : percentiles) {
    summary.percentiles.emplace_back(p, supported_percentile(sorted, p));
  }
  return summary;
}

std::optional<double> clock_skew(int64_t steady_ns, int64_t system_ns) {
  if (system_ns <= 0) return std::nullopt;
  return static_cast<double>(steady_ns) / static_cast<double>(system_ns) - 1;
}

std::vector<std::string> invalid_reasons(const Summary& summary, std::optional<double> skew) {
  std::vector<std::string> reasons;
  if (!skew) {
    reasons.emplace_back("the system clock did not advance during the run");
  } else if (std::abs(*skew) > kMaxSkew) {
    reasons.push_back("the steady and the system clock differ by " + percent(*skew) +
                      ", at most 1 % is allowed");
  }
  if (!summary.median_interval) {
    reasons.push_back("the median has no confidence interval: " + std::to_string(summary.count) +
                      " samples, at least 6 are needed");
  } else {
    const auto center = static_cast<double>(summary.median);
    const double below = 1 - static_cast<double>(summary.median_interval->low) / center;
    const double above = static_cast<double>(summary.median_interval->high) / center - 1;
    if (!(below <= kMaxHalfWidth && above <= kMaxHalfWidth)) {
      reasons.push_back("the median's interval is -" + percent(below) + " to +" + percent(above) +
                        ", at most 5 % either way is allowed");
    }
  }
  if (summary.drift && std::abs(*summary.drift) > kMaxDrift) {
    reasons.push_back("the medians of the first and the second half differ by " +
                      percent(*summary.drift) + ", at most 5 % is allowed");
  }
  return reasons;
}

}  // namespace zoo
