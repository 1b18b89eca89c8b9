#pragma once

#include <string>

#include "conditions.h"
#include "manifest.h"
#include "options.h"
#include "requirements.h"

namespace zoo {

// What of this machine only torch can tell.

[[nodiscard]] std::string version_line();

// For step 6 of docs/artifact.md.
[[nodiscard]] Offer observe_offer(const Manifest& manifest, const Options& options);

// Sets the number of threads and the arithmetic that the artifact was proved with. Once, first.
void configure_torch(const Manifest& manifest, int threads);

[[nodiscard]] Conditions observe_torch_conditions(const Manifest& manifest, int threads);

// Waits until the GPU has done what it was asked; nothing to do on cpu.
void synchronize(const std::string& device);

}  // namespace zoo
