#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "measure/scenario.h"
#include "measure/stats.h"

namespace zoo {

// The files that --input reads and --output writes.
inline constexpr std::array<std::string_view, 2> kDataSuffixes = {".npy", ".safetensors"};

// What the command line asks for. An empty optional means: the default that the help text names.
struct Options {
  std::vector<std::string> artifacts;  // at least one; several are compared
  std::string input;
  std::string output;
  std::string json;
  std::string device;
  std::optional<int64_t> batch;
  std::optional<int64_t> threads;
  std::optional<int64_t> warmup;
  std::optional<int64_t> iterations;
  std::optional<double> duration_s;
  std::optional<int64_t> rounds;
  std::optional<int64_t> seed;
  std::vector<Percentile> percentiles = {{50'000}, {90'000}, {95'000}, {99'000}};
  std::vector<std::string> library_path;
  bool check = false;
  bool cuda_graph = false;
  bool strict = false;
  bool allow_nonfinite = false;
  bool accept_error = false;  // run an artifact that was published although it failed its proof
  bool unproved = false;      // run a pending one: for the builder, which proves it
  bool turns = false;         // one of the programs of a comparison, in its own process
  bool quiet = false;
  bool capabilities = false;  // print what this zoo-run can do, as JSON, and leave
  std::string print;          // --help or --version: print this and leave
  Scenario scenario = Scenario::kSingleStream;
  std::optional<int64_t> streams;
  std::optional<double> rate;       // queries per second; none: looked for
  std::optional<double> p99_ms;     // what the server's 99th percentile must lie under
  std::vector<std::string> images;  // picture files; preprocessed, they are the input
  std::string save_input;           // where the input that was made of them is written

  // In rounds: several artifacts, or one for a comparison with an older report.
  [[nodiscard]] bool compares() const { return artifacts.size() > 1 || rounds.has_value(); }
  // Answers inputs that were given, instead of measuring or proving.
  [[nodiscard]] bool infers() const { return !input.empty() || !images.empty(); }
  [[nodiscard]] bool json_to_stdout() const { return json == "-"; }
};

// Fails with exit code 2 and a line that names the flag and what it takes. `version` is what
// --version prints.
[[nodiscard]] Options parse_options(int argc, const char* const* argv, const std::string& version);

}  // namespace zoo
