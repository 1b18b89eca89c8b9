#pragma once

#include <string>

#include "artifact/manifest.h"
#include "artifact/requirements.h"
#include "base/json.h"
#include "options.h"

namespace zoo {

// What this zoo-run offers: its versions and its engines, and the machine that it runs on.

// What --version prints.
[[nodiscard]] std::string version_line();

// What --capabilities prints: the same and more, for programs to read.
[[nodiscard]] OrderedJson capabilities();

// For step 7 of docs/artifact.md.
[[nodiscard]] Host observe_host(const Manifest& manifest, const Options& options);

}  // namespace zoo
