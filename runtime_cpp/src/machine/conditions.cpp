#include "machine/conditions.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/version.h"

extern char** environ;

namespace zoo {

namespace {

constexpr std::array<std::string_view, 15> kPrefixes = {
    "OMP_",      "KMP_",    "GOMP_",     "MKL_",       "ONEDNN_", "DNNL_",     "OV_", "AOTI_",
    "ATEN_CPU_", "MALLOC_", "TCMALLOC_", "LD_PRELOAD", "TBB_",    "OPENVINO_", "ORT_"};

std::map<std::string, std::string> relevant_environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = text.substr(0, equals);
    if (std::ranges::any_of(kPrefixes, [&](auto prefix) { return name.starts_with(prefix); })) {
      variables.emplace(name, text.substr(equals + 1));
    }
  }
  return variables;
}

}  // namespace

Conditions observe_conditions(int threads) {
  Conditions conditions;
  conditions.threads = threads;
  conditions.usable_cores = usable_cores();
  conditions.allocator = allocator();
  conditions.openmp = openmp_library();
  conditions.cpu_model = parse_cpu_model(read_text_file("/proc/cpuinfo"));
  conditions.date = utc_now();
  conditions.host = host_name();
  conditions.environment = relevant_environment();
  if (is_slow_build()) {
    conditions.warnings.emplace_back(
        "a debug or sanitizer build: its figures are not those of a release");
  }
  if (threads > conditions.usable_cores) {
    conditions.warnings.push_back(std::to_string(threads) + " threads on " +
                                  std::to_string(conditions.usable_cores) +
                                  " usable cores: they wait for each other");
  }
  return conditions;
}

OrderedJson to_json(const Conditions& conditions) {
  OrderedJson json;
  json["threads"] = conditions.threads;
  json["usable_cores"] = conditions.usable_cores;
  json["allocator"] = conditions.allocator.library;
  json["tcmalloc"] = conditions.allocator.tcmalloc;
  json["openmp"] = conditions.openmp;
  json["torch"] = conditions.torch;
  json["runtime"] = conditions.runtime.empty() ? OrderedJson() : OrderedJson(conditions.runtime);
  json["cpu"] = conditions.cpu_model;
  json["cpu_capability"] = conditions.cpu_capability;
  json["gpu_arch"] = conditions.gpu_arch.empty() ? OrderedJson() : OrderedJson(conditions.gpu_arch);
  json["version"] = kVersion;
  json["commit"] = kCommit;
  json["build_type"] = kBuildType;
  json["date"] = conditions.date;
  json["host"] = conditions.host;
  json["environment"] = OrderedJson::object();
  for (const auto& [name, value] : conditions.environment) json["environment"][name] = value;
  json["warnings"] = conditions.warnings;
  return json;
}

}  // namespace zoo
