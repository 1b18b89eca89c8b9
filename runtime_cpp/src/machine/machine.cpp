#include "machine/machine.h"

#include <dlfcn.h>
#include <link.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <limits>
#include <regex>
#include <sstream>

namespace zoo {

namespace {

// The value of the first "key : value" line, or nothing.
std::string_view find_line(std::string_view text, std::string_view key) {
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && line.starts_with(key)) {
      const std::string_view gap = line.substr(key.size(), colon - key.size());
      const size_t value = line.find_first_not_of(" \t", colon + 1);
      if (gap.find_first_not_of(" \t") == std::string_view::npos) {
        return value == std::string_view::npos ? std::string_view() : line.substr(value);
      }
    }
    start = end + 1;
  }
  return {};
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::set<std::string> parse_cpu_flags(std::string_view cpuinfo) {
  std::istringstream words{std::string(find_line(cpuinfo, "flags"))};
  std::set<std::string> flags;
  for (std::string flag; words >> flag;) flags.insert(flag);
  return flags;
}

std::string parse_cpu_model(std::string_view cpuinfo) {
  return std::string(find_line(cpuinfo, "model name"));
}

std::string read_text_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int usable_cores() {
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);  // more cores than the mask has room for
  return online > 0 ? static_cast<int>(online) : 1;
}

uint64_t available_memory_bytes() {
  const std::string text = read_text_file("/proc/meminfo");
  const std::string_view value = find_line(text, "MemAvailable");
  uint64_t kibibytes = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), kibibytes);
  if (value.empty() || parsed.ec != std::errc()) return std::numeric_limits<uint64_t>::max();
  return kibibytes << 10;
}

uint64_t peak_rss_bytes() {
  struct rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) << 10;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm fields{};
  if (::gmtime_r(&now, &fields) == nullptr) return "";
  std::array<char, 32> text{};
  const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &fields);
  return {text.data(), length};
}

Allocator allocator() {
  // Looked up by name: the address in our own code may be a stub that belongs to this program.
  void* address = ::dlsym(RTLD_DEFAULT, "malloc");
  Dl_info info{};
  if (address == nullptr || ::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return {};
  const std::string library = info.dli_fname;
  return {library, base_name(library).find("tcmalloc") != std::string::npos};
}

std::string openmp_library() {
  std::string libraries;
  const auto visit = [](dl_phdr_info* info, size_t, void* result) {
    const std::string path = info->dlpi_name;
    for (const char* prefix : {"libgomp", "libiomp", "libomp"}) {
      if (!base_name(path).starts_with(prefix)) continue;
      auto& list = *static_cast<std::string*>(result);
      list += (list.empty() ? "" : ", ") + path;
    }
    return 0;
  };
  ::dl_iterate_phdr(visit, &libraries);
  return libraries;
}

Gpu probe_gpu() {
  // The driver's own interface: four stable C functions, no toolkit needed to build against it.
  using Init = int (*)(unsigned);
  using GetDevice = int (*)(int*, int);
  using GetAttribute = int (*)(int*, int, int);
  using GetName = int (*)(char*, int, int);
  constexpr int kComputeCapabilityMajor = 75;
  constexpr int kComputeCapabilityMinor = 76;
  void* driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // stays: torch uses it too
  if (driver == nullptr) return {std::nullopt, "", "no NVIDIA driver (libcuda.so.1) is installed"};
  const auto init = reinterpret_cast<Init>(::dlsym(driver, "cuInit"));
  const auto get_device = reinterpret_cast<GetDevice>(::dlsym(driver, "cuDeviceGet"));
  const auto get_attribute =
      reinterpret_cast<GetAttribute>(::dlsym(driver, "cuDeviceGetAttribute"));
  const auto get_name = reinterpret_cast<GetName>(::dlsym(driver, "cuDeviceGetName"));
  int device = 0;
  int major = 0;
  int minor = 0;
  std::array<char, 256> name{};
  if (!init || !get_device || !get_attribute || !get_name || init(0) != 0 ||
      get_device(&device, 0) != 0 || get_attribute(&major, kComputeCapabilityMajor, device) != 0 ||
      get_attribute(&minor, kComputeCapabilityMinor, device) != 0 ||
      get_name(name.data(), static_cast<int>(name.size() - 1), device) != 0) {
    return {std::nullopt, "", "the NVIDIA driver finds no GPU"};
  }
  return {"sm_" + std::to_string(major) + std::to_string(minor), name.data(), ""};
}

std::string parse_driver_version(std::string_view text) {
  const std::string line(text.substr(0, text.find('\n')));
  std::smatch version;
  return std::regex_search(line, version, std::regex("[0-9]+(\\.[0-9]+)+")) ? version.str()
                                                                            : "unknown";
}

std::string describe_processor(const std::string& device) {
  if (device == "cpu") return "cpu: " + parse_cpu_model(read_text_file("/proc/cpuinfo"));
  const Gpu gpu = probe_gpu();
  return "cuda: " + gpu.name + ", " + gpu.arch.value_or("no GPU") + ", driver " +
         parse_driver_version(read_text_file("/proc/driver/nvidia/version"));
}

bool is_slow_build() {
#if !defined(NDEBUG) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#else
  return false;
#endif
}

}  // namespace zoo
