#include "measure/repetition.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/interrupt.h"
#include "base/text.h"
#include "measure/stats.h"

namespace zoo {

namespace {

constexpr int64_t kTurnNs = 50'000'000;
constexpr int64_t kFewestCalls = 3;
constexpr int64_t kMostCalls = 200;

}  // namespace

Repetition compare_repeated(Team& team, System& system, int64_t call_ns, uint64_t seed,
                            const Clocks& clocks) {
  const int64_t calls =
      std::clamp(kTurnNs / std::max<int64_t>(1, call_ns), kFewestCalls, kMostCalls);
  Repetition result;
  uint64_t salt = 0;
  const auto take_turn = [&](bool repeats) {
    std::vector<int64_t> times;
    for (int64_t i = 0; i < calls; ++i) {
      throw_if_interrupted();
      if (!repeats) ++salt;
      system.fill(repeats ? 0 : salt % system.samples(), repeats ? 0 : salt);
      const int64_t start = clocks.steady_ns();
      system.call(0, System::kFilled);
      times.push_back(clocks.steady_ns() - start);
      if (repeats && !system.is_right(0, 0)) ++result.wrong;
    }
    if (repeats) result.calls += calls;
    std::ranges::sort(times);
    return median(times);
  };

  std::array<std::vector<int64_t>, 2> rounds;  // ever new inputs, the repeated sample
  Shuffle shuffle(seed);
  team.run([&](size_t stream) {
    if (stream != 0) return;
    for (int64_t round = 0; round < kDefaultRounds; ++round) {
      for (const size_t kind : shuffle.order(2)) rounds[kind].push_back(take_turn(kind == 1));
    }
  });
  result.ratio = ratio_of(rounds[1], rounds[0]);
  return result;
}

std::string repetition_flaw(const Repetition& repetition) {
  if (!repetition.ratio || repetition.ratio->high >= 1) return "";
  return format(
      "a repeated sample takes %.3f of the time of new ones (95 %% interval %.3f to %.3f): the "
      "program keeps answers",
      repetition.ratio->value, repetition.ratio->low, repetition.ratio->high);
}

std::string answers_flaw(int64_t wrong, int64_t calls) {
  if (wrong == 0) return "";
  return format("%lld of %lld answers differ from those that were checked",
                static_cast<long long>(wrong), static_cast<long long>(calls));
}

}  // namespace zoo
