#include "machine/pinning.h"

#include <sched.h>

namespace zoo {

std::vector<int> core_numbers() {
  std::vector<int> cores;
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  }
  return cores;
}

std::vector<std::vector<int>> divide_cores(std::span<const int> cores, size_t streams,
                                           size_t threads) {
  if (cores.size() < streams * threads) return {};
  std::vector<std::vector<int>> shares;
  for (size_t i = 0; i < streams; ++i) {
    const auto share = cores.subspan(i * threads, threads);
    shares.emplace_back(share.begin(), share.end());
  }
  return shares;
}

bool pin_this_thread(std::span<const int> cores) {
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (const int core : cores) CPU_SET(core, &wanted);
  return !cores.empty() && ::sched_setaffinity(0, sizeof(wanted), &wanted) == 0;
}

}  // namespace zoo
