#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "measure/measure.h"
#include "measure/random.h"

namespace zoo {

// How programs are compared. A round starts each in a process of its own, for the place of its
// memory alone makes a process faster or slower. In a round they take turns, in random order.
inline constexpr int64_t kDefaultRounds = 11;
inline constexpr int64_t kMinRounds = 6;  // fewer give no interval
inline constexpr int64_t kBlocks = 4;     // turns of a program in a round
inline constexpr double kDefaultComparedS = 6;

// The time of one program over that of another, and the 95 % interval over the rounds.
struct Ratio {
  double value = 1;
  double low = 1;
  double high = 1;
  // "faster", "slower", or "no difference shown": where the interval holds 1.
  [[nodiscard]] std::string_view verdict() const;
};

// From the median of each round, in nanoseconds, of two programs that ran in the same rounds; none
// for fewer than kMinRounds.
[[nodiscard]] std::optional<Ratio> ratio_of(std::span<const int64_t> rounds,
                                            std::span<const int64_t> reference);

// One turn of a program, as its process is told of it: a line with the calls that are thrown away
// and the least time of the others. Two calls more are always thrown away.
[[nodiscard]] std::string turn_line(const MeasurePlan& turn);
// Fails with 2 where it is no such line.
[[nodiscard]] MeasurePlan parse_turn(const std::string& line);
inline constexpr std::string_view kLastTurn = "end";

// A turn of so many seconds in all: the calls after a switch that are thrown away are as many as
// fill the caches again.
[[nodiscard]] MeasurePlan plan_turn(double seconds, int64_t call_ns);

// Numbers in random order that a seed decides, the same on every machine.
class Shuffle {
 public:
  explicit Shuffle(uint64_t seed) : random_(seed) {}
  // 0 to count - 1.
  [[nodiscard]] std::vector<size_t> order(size_t count);

 private:
  Random random_;
};

}  // namespace zoo
