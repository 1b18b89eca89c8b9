// Stands in for cuda_graph.cpp where that cannot be compiled.
#include "base/error.h"
#include "engines/cuda_graph.h"

namespace zoo {

bool has_cuda_graphs() { return false; }

std::unique_ptr<Engine> capture_calls(std::unique_ptr<Engine>) {
  fail_machine("--cuda-graph: this zoo-run was built without CUDA's headers");
}

}  // namespace zoo
