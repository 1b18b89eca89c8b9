#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "measure/comparison.h"
#include "measure/scenario.h"

namespace zoo {

// Whether a program is faster when it is asked the same thing again: LoadGen's TEST04. One that
// keeps its answers would be, and its figures would say nothing.
struct Repetition {
  std::optional<Ratio> ratio;  // the time with one repeated sample over that with ever new inputs
  int64_t calls = 0;
  int64_t wrong = 0;  // answers to the repeated sample with other bits than the checked one
};

// In rounds, in stream 0 alone: some calls with the repeated sample and as many with inputs that no
// call had before, in random order. Each input is written into the same buffer first, untimed, so
// that the caches of the CPU treat both alike. `call_ns` is about what a call takes.
[[nodiscard]] Repetition compare_repeated(Team& team, System& system, int64_t call_ns,
                                          uint64_t seed, const Clocks& clocks);

// Why the figures must not be believed: "" or a line.
[[nodiscard]] std::string repetition_flaw(const Repetition& repetition);
// The same for answers that are not those that were checked: LoadGen's TEST01.
[[nodiscard]] std::string answers_flaw(int64_t wrong, int64_t calls);

}  // namespace zoo
