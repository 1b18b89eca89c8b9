#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "machine/machine.h"

namespace zoo {

// Under what a figure was taken. A number never travels without these.
struct Conditions {
  int threads = 0;
  int usable_cores = 0;
  Allocator allocator;
  std::string openmp;
  std::string torch;
  std::string runtime;  // what runs the program where that is not torch; else empty
  std::string cpu_model;
  std::string cpu_capability;  // the instruction set torch chose
  std::string gpu_arch;        // empty on cpu
  std::string date;
  std::string host;
  std::map<std::string, std::string> environment;  // the variables that change speed or results
  std::vector<std::string> warnings;
};

// Fills in what needs no torch; threads are as given.
[[nodiscard]] Conditions observe_conditions(int threads);

[[nodiscard]] OrderedJson to_json(const Conditions& conditions);

}  // namespace zoo
