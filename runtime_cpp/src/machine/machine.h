#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace zoo {

// Facts about this machine and this process. Whatever cannot be found out is empty, never guessed.

// The flags of the first processor in text of the form of /proc/cpuinfo.
[[nodiscard]] std::set<std::string> parse_cpu_flags(std::string_view cpuinfo);
[[nodiscard]] std::string parse_cpu_model(std::string_view cpuinfo);
[[nodiscard]] std::string read_text_file(const std::string& path);

// Cores that this process may use: its affinity mask, not the number of cores built in.
[[nodiscard]] int usable_cores();
[[nodiscard]] uint64_t available_memory_bytes();
[[nodiscard]] uint64_t peak_rss_bytes();
[[nodiscard]] std::string host_name();
[[nodiscard]] std::string utc_now();  // ISO 8601

// The library whose malloc this process uses, and whether that is tcmalloc.
struct Allocator {
  std::string library;
  bool tcmalloc = false;
};
[[nodiscard]] Allocator allocator();

// The OpenMP runtimes that are loaded; more than one is worth knowing about.
[[nodiscard]] std::string openmp_library();

// "sm_90" of the first GPU, asked of the driver itself; or why there is none.
struct Gpu {
  std::optional<std::string> arch;
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::string why_not;
};
[[nodiscard]] Gpu probe_gpu();

// The driver's version in text of the form of /proc/driver/nvidia/version: the first number with
// points on its first line, or "unknown".
[[nodiscard]] std::string parse_driver_version(std::string_view text);

// What a proof was made on: "cpu: <model>", or "cuda: <GPU>, sm_89, driver <version>".
[[nodiscard]] std::string describe_processor(const std::string& device);

// True in a build whose figures mean nothing: assertions on, or a sanitizer.
[[nodiscard]] bool is_slow_build();

}  // namespace zoo
