#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace zoo {

// Mixes bytes into a state, 8 at a time, so that it costs little beside a call. Every step can be
// undone, so two texts that differ in one step alone never collide. Not against forgers.
[[nodiscard]] inline uint64_t mix_bytes(uint64_t state, std::span<const std::byte> bytes) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15ULL;
  const auto mix = [&](uint64_t word) {
    state = (state ^ word) * kOdd;
    state ^= state >> 32;
  };
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    mix(word);
  }
  uint64_t rest = 0;
  if (at < bytes.size()) std::memcpy(&rest, bytes.data() + at, bytes.size() - at);
  mix(rest);
  mix(bytes.size());
  return state;
}

}  // namespace zoo
