#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/programs.h"
#include "engines/engine.h"
#include "options.h"

namespace zoo {

// What zoo-run and the library zoo_runtime have in common: from a verified artifact to its answers.

// Steps 6 and 7 of docs/artifact.md, then the libraries that must come first; configures
// torch for `threads` threads. Fails unless the artifact may run here. To be called before anything
// is loaded.
void prepare(const VerifiedArtifact& artifact, const Options& options, int threads);

// A program of an artifact that is ready to be called.
class LoadedProgram {
 public:
  // The first two must live as long as this. `callers` threads may call its engine at once.
  LoadedProgram(const VerifiedArtifact& artifact, const Program& program, int threads,
                bool cuda_graph, int callers = 1);

  [[nodiscard]] const Program& program() const { return program_; }
  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] double load_ms() const { return load_ms_; }

  // The outputs for these rows, checked, contiguous on cpu.
  [[nodiscard]] std::vector<at::Tensor> call(const at::Tensor& rows);

 private:
  const Manifest& manifest_;
  const Program& program_;
  std::unique_ptr<Engine> engine_;
  double load_ms_ = 0;
};

// The outputs for all rows of a validated input, float32 on cpu, in the calls that plan_chunks()
// plans. `get` returns the loaded program of an index.
[[nodiscard]] std::vector<at::Tensor> answer(const Manifest& manifest,
                                             const std::vector<Chunk>& chunks,
                                             const at::Tensor& input,
                                             const std::function<LoadedProgram&(size_t)>& get);

}  // namespace zoo
