#pragma once

#include <cstdint>

namespace zoo {

// Numbers that a seed decides, the same on every machine: SplitMix64 (Steele, Lea and Flood, 2014).
// The standard library's shuffles and distributions differ between makers.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  [[nodiscard]] uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  // Above 0 and at most 1, in steps of 2^-53.
  [[nodiscard]] double uniform() { return static_cast<double>((next() >> 11) + 1) * 0x1p-53; }

 private:
  uint64_t state_;
};

}  // namespace zoo
