#include "measure/arrivals.h"

#include <algorithm>
#include <cmath>

#include "measure/random.h"

namespace zoo {

namespace {

constexpr int kMostDoublings = 10;
// At a sixteenth of the first rate hardly a query waits for another: a lower one cannot help.
constexpr int kMostHalvings = 4;
constexpr int kBisections = 5;        // from a factor of 2 to about 3 %
constexpr size_t kConfirmations = 4;  // the highest rate, and at most three below it

}  // namespace

std::vector<int64_t> poisson_arrivals(double rate_per_s, size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<int64_t> arrivals;
  arrivals.reserve(count);
  double time_s = 0;
  for (size_t i = 0; i < count; ++i) {
    time_s += -std::log(random.uniform()) / rate_per_s;
    arrivals.push_back(std::llround(time_s * 1e9));
  }
  return arrivals;
}

RateSearch search_rate(double start, const std::function<RateStep(double rate)>& attempt) {
  RateSearch search;
  std::vector<double> passed;  // ascending
  const auto passes = [&](double rate) {
    search.steps.push_back(attempt(rate));
    if (search.steps.back().passed) passed.insert(std::ranges::upper_bound(passed, rate), rate);
    return search.steps.back().passed;
  };
  const bool rises = passes(start);
  double rate = start;
  for (int i = 0; i < (rises ? kMostDoublings : kMostHalvings); ++i) {
    rate *= rises ? 2 : 0.5;
    if (passes(rate) != rises) break;
  }
  if (passed.empty()) return search;
  double low = passed.back();
  double high = 2 * low;  // it failed, unless every doubling passed
  const bool has_failed = !std::ranges::all_of(search.steps, &RateStep::passed);
  for (int i = 0; has_failed && i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (passes(middle) ? low : high) = middle;
  }
  for (size_t i = 0; i < std::min(kConfirmations, passed.size()); ++i) {
    search.steps.push_back(attempt(passed[passed.size() - 1 - i]));
    search.steps.back().confirms = true;
    if (!search.steps.back().passed) continue;
    search.rate = search.steps.back().rate_per_s;
    break;
  }
  return search;
}

}  // namespace zoo
