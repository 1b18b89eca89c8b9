#include "loaded.h"

#include <ATen/ATen.h>

#include "artifact/proof.h"
#include "base/clocks.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "calls.h"
#include "engines/cuda_graph.h"
#include "engines/offer.h"
#include "machine/libraries.h"
#include "torch/tensors.h"
#include "torch/torch_errors.h"
#include "torch/torch_machine.h"

namespace zoo {

void prepare(const VerifiedArtifact& artifact, const Options& options, int threads) {
  const Manifest& manifest = artifact.manifest;
  if (!options.check) require_proved(artifact, options.accept_error, options.unproved);
  check_requirements(manifest, observe_host(manifest, options));
  load_libraries(manifest.requirements.load_first, options.library_path);
  configure_torch(manifest, threads);
}

LoadedProgram::LoadedProgram(const VerifiedArtifact& artifact, const Program& program, int threads,
                             bool cuda_graph, int callers)
    : manifest_(artifact.manifest), program_(program) {
  const int64_t start = real_clocks().steady_ns();
  engine_ = with_torch_errors(program.file + ": cannot be loaded", [&] {
    const LoadEngine load_engine = find_engine(manifest_.backend, program.file);
    return load_engine({.file = artifact.file(program.file),
                        .program = program,
                        .manifest = manifest_,
                        .threads = threads,
                        .cuda_graph = cuda_graph,
                        .callers = callers});
  });
  if (cuda_graph) engine_ = capture_calls(std::move(engine_));
  load_ms_ = to_ms(real_clocks().steady_ns() - start);
}

std::vector<at::Tensor> LoadedProgram::call(const at::Tensor& rows) {
  throw_if_interrupted();
  return with_torch_errors(program_.file + ": cannot be run", [&] {
    std::vector<at::Tensor> outputs = engine_->run(rows.to(c10::Device(manifest_.device)));
    synchronize(manifest_.device);
    validate_outputs(outputs, rows.size(0), manifest_, program_.file);
    return to_host(std::move(outputs));
  });
}

std::vector<at::Tensor> answer(const Manifest& manifest, const std::vector<Chunk>& chunks,
                               const at::Tensor& input,
                               const std::function<LoadedProgram&(size_t)>& get) {
  std::vector<at::Tensor> outputs;
  for (const Output& output : manifest.outputs) {
    outputs.push_back(at::empty(with_rows(input.size(0), output.shape), at::kFloat));
  }
  for (const Chunk& chunk : chunks) {
    const at::Tensor rows = input.narrow(0, chunk.first_row, chunk.rows).clone();
    const std::vector<at::Tensor> part = get(chunk.program).call(rows);
    for (size_t i = 0; i < outputs.size(); ++i) {
      outputs[i].narrow(0, chunk.first_row, chunk.rows).copy_(part[i]);
    }
  }
  return outputs;
}

}  // namespace zoo
