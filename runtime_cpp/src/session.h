#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <iosfwd>
#include <optional>
#include <vector>

#include "artifact/artifact.h"
#include "calls.h"
#include "loaded.h"
#include "options.h"
#include "report/report.h"
#include "torch/tensors.h"

namespace zoo {

// An artifact that this machine can run, and what was asked of it.
class Session {
 public:
  // Steps 6 and 7 of docs/artifact.md, then the libraries that must come first; configures torch.
  Session(const VerifiedArtifact& artifact, const Options& options);

  // Runs --input, --image, --check, or the measurement.
  [[nodiscard]] Report run();

  // For a comparison, in whose process this is one of the programs: loads and warms up, says so in
  // a line of JSON, then answers each turn that it is given with its times, until the last.
  void answer_turns(std::istream& in, std::ostream& out);

 private:
  [[nodiscard]] Report infer();
  // That of --input or --image.
  [[nodiscard]] at::Tensor given_input() const;
  [[nodiscard]] Report check();
  [[nodiscard]] Report measure();
  [[nodiscard]] Report measure_scenario();
  // Those of the program for --batch, which is loaded.
  [[nodiscard]] Calls calls();

  // Writes down that a pending artifact passed; where that fails the report warns of it.
  void remember_proof(Report& report) const;
  LoadedProgram& load(size_t program);  // unless it is the one that is loaded
  // `seen` gets the rows of each call and its outputs.
  using SeeCall = std::function<void(const at::Tensor&, const std::vector<at::Tensor>&)>;
  [[nodiscard]] ProgramCheck check_program(size_t program, const Golden& golden,
                                           std::optional<int64_t> batch, const SeeCall& seen = {});
  [[nodiscard]] Subject subject(int64_t batch);

  const VerifiedArtifact& artifact_;
  const Options& options_;
  const Manifest& manifest_;
  double load_ms_ = 0;
  int streams_;
  int threads_;  // of each stream
  std::optional<LoadedProgram> loaded_;
};

}  // namespace zoo
