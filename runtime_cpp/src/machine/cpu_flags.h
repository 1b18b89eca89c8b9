#pragma once

#include <set>
#include <string>

namespace zoo {

// The CPU flags of this machine in the names of /proc/cpuinfo. Where the processor itself can be
// asked (cpuid) it is: under an emulated CPU /proc/cpuinfo may still speak of the one beneath.
// Flags that this table does not know are taken from /proc/cpuinfo.
[[nodiscard]] std::set<std::string> cpu_flags();

// Those that the processor has, of all that the table knows; for tests too.
struct ProcessorFlags {
  std::set<std::string> known;
  std::set<std::string> present;
};
[[nodiscard]] ProcessorFlags ask_processor();

}  // namespace zoo
