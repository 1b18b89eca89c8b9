#pragma once

#include <string>

#include "artifact/manifest.h"
#include "machine/conditions.h"

namespace zoo {

// What of this machine only torch can tell.

// The version of torch's headers, and that of its library in this process: they may differ.
[[nodiscard]] std::string built_torch_version();
[[nodiscard]] std::string loaded_torch_version();
// Whether this torch was built for CUDA.
[[nodiscard]] bool torch_has_cuda();

// Sets how many threads a call by this thread uses: each thread has a number of its own.
void use_threads(int threads);

// Sets the number of threads, and the arithmetic that the artifact was proved with. Before anything
// is loaded; the arithmetic is that of the whole process.
void configure_torch(const Manifest& manifest, int threads);

[[nodiscard]] Conditions observe_torch_conditions(const Manifest& manifest, int threads);

// Waits until the GPU has done what it was asked; nothing to do on cpu.
void synchronize(const std::string& device);

}  // namespace zoo
