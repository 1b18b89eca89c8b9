#pragma once

#include <memory>

#include "engines/engine.h"

namespace zoo {

// Whether this zoo-run was built with CUDA's headers, which a CUDA graph needs.
[[nodiscard]] bool has_cuda_graphs();

// An engine that captures the calls of `engine` into CUDA graphs, one for each batch, and replays
// them. The first call of a batch warms up and captures. The input that it was given stays the
// graph's input: later ones are copied into it. The outputs are overwritten by the next call.
[[nodiscard]] std::unique_ptr<Engine> capture_calls(std::unique_ptr<Engine> engine);

}  // namespace zoo
