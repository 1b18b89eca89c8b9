#include "machine/cpu_flags.h"

#include <array>
#include <cstdint>
#include <string_view>

#include "machine/machine.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace zoo {

#if defined(__x86_64__)

namespace {

enum class Register { kEax, kEbx, kEcx, kEdx };

// Registers that the system must save on a switch of threads; else using them is a fault.
enum class State : uint64_t { kAlways = 0, kAvx = 0x6, kAvx512 = 0xe6, kAmx = 0x60000 };

struct Row {
  std::string_view flag;
  uint32_t leaf;
  uint32_t subleaf;
  Register where;
  unsigned bit;
  State state = State::kAlways;
};

using enum Register;
using enum State;
constexpr uint32_t kExtended = 0x80000001;
constexpr std::array kRows = {
    Row{"sse4_1", 1, 0, kEcx, 19},
    Row{"sse4_2", 1, 0, kEcx, 20},
    Row{"movbe", 1, 0, kEcx, 22},
    Row{"popcnt", 1, 0, kEcx, 23},
    Row{"aes", 1, 0, kEcx, 25},
    Row{"xsave", 1, 0, kEcx, 26},
    Row{"fma", 1, 0, kEcx, 12, kAvx},
    Row{"avx", 1, 0, kEcx, 28, kAvx},
    Row{"f16c", 1, 0, kEcx, 29, kAvx},
    Row{"abm", kExtended, 0, kEcx, 5},
    Row{"bmi1", 7, 0, kEbx, 3},
    Row{"bmi2", 7, 0, kEbx, 8},
    Row{"avx2", 7, 0, kEbx, 5, kAvx},
    Row{"avx512f", 7, 0, kEbx, 16, kAvx512},
    Row{"avx512dq", 7, 0, kEbx, 17, kAvx512},
    Row{"avx512ifma", 7, 0, kEbx, 21, kAvx512},
    Row{"avx512cd", 7, 0, kEbx, 28, kAvx512},
    Row{"avx512bw", 7, 0, kEbx, 30, kAvx512},
    Row{"avx512vl", 7, 0, kEbx, 31, kAvx512},
    Row{"avx512vbmi", 7, 0, kEcx, 1, kAvx512},
    Row{"avx512_vbmi2", 7, 0, kEcx, 6, kAvx512},
    Row{"waitpkg", 7, 0, kEcx, 5},
    Row{"cldemote", 7, 0, kEcx, 25},
    Row{"serialize", 7, 0, kEdx, 14},
    Row{"gfni", 7, 0, kEcx, 8},
    Row{"vaes", 7, 0, kEcx, 9, kAvx},
    Row{"vpclmulqdq", 7, 0, kEcx, 10, kAvx},
    Row{"avx512_vnni", 7, 0, kEcx, 11, kAvx512},
    Row{"avx512_bitalg", 7, 0, kEcx, 12, kAvx512},
    Row{"avx512_vpopcntdq", 7, 0, kEcx, 14, kAvx512},
    Row{"avx512_vp2intersect", 7, 0, kEdx, 8, kAvx512},
    Row{"amx_bf16", 7, 0, kEdx, 22, kAmx},
    Row{"avx512_fp16", 7, 0, kEdx, 23, kAvx512},
    Row{"amx_tile", 7, 0, kEdx, 24, kAmx},
    Row{"amx_int8", 7, 0, kEdx, 25, kAmx},
    Row{"avx_vnni", 7, 1, kEax, 4, kAvx},
    Row{"avx512_bf16", 7, 1, kEax, 5, kAvx512},
    Row{"amx_fp16", 7, 1, kEax, 21, kAmx},
};

// What the system saves (XCR0); nothing where it does not say.
uint64_t saved_state() {
  std::array<unsigned, 4> r{};
  constexpr unsigned kOsxsave = 27;
  if (__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) == 0 || ((r[2] >> kOsxsave) & 1) == 0) return 0;
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

bool has(const Row& row, uint64_t saved) {
  std::array<unsigned, 4> r{};
  if (__get_cpuid_count(row.leaf, row.subleaf, &r[0], &r[1], &r[2], &r[3]) == 0) return false;
  const auto needed = static_cast<uint64_t>(row.state);
  return ((r[static_cast<size_t>(row.where)] >> row.bit) & 1) != 0 && (saved & needed) == needed;
}

}  // namespace

ProcessorFlags ask_processor() {
  const uint64_t saved = saved_state();
  ProcessorFlags flags;
  for (const Row& row : kRows) {
    flags.known.emplace(row.flag);
    if (has(row, saved)) flags.present.emplace(row.flag);
  }
  return flags;
}

#else

ProcessorFlags ask_processor() { return {}; }

#endif

std::set<std::string> cpu_flags() {
  const ProcessorFlags asked = ask_processor();
  std::set<std::string> flags = parse_cpu_flags(read_text_file("/proc/cpuinfo"));
  std::erase_if(flags, [&](const std::string& flag) { return asked.known.contains(flag); });
  flags.insert(asked.present.begin(), asked.present.end());
  return flags;
}

}  // namespace zoo
