#pragma once

#include "options.h"
#include "report/report.h"

namespace zoo {

// Measures the artifacts of the options side by side, each in processes of its own.
// docs/guide.md explains it, under "Compare".
[[nodiscard]] Report compare(const Options& options);

}  // namespace zoo
