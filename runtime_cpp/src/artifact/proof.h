#pragma once

#include <string>

#include "artifact/artifact.h"

namespace zoo {

// Whether an artifact may run. `proved` does. `accepted` failed its proof: it runs where that is
// accepted again. `pending` was built for a machine that its builder did not have: it runs once its
// proof has passed here, which proof-<folder>.json beside the folder remembers.

// The CPU level or the GPUs that it was built for: "x86-64-v4", "sm_89, sm_120".
[[nodiscard]] std::string built_for(const Manifest& manifest);

// Step 6 of docs/artifact.md. Fails with exit code 3 unless the artifact may run here. Each option
// lifts its own refusal: `accept_error` that of an artifact that failed, `unproved` that of a
// pending one.
void require_proved(const VerifiedArtifact& artifact, bool accept_error, bool unproved);

// Where the proof of a pending artifact is remembered.
[[nodiscard]] std::string proof_path(const VerifiedArtifact& artifact);

// Writes there that the proof passed on this machine. Fails with exit code 4 where that cannot be
// written.
void record_proof(const VerifiedArtifact& artifact);

}  // namespace zoo
