#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace zoo {

inline constexpr unsigned kSchemaMajor = 2;  // of the manifests that are read
inline constexpr const char* kGoldenFile = "golden.safetensors";

// What manifest.json must keep to and a schema cannot say: docs/artifact.md has the same numbers,
// and Python has a twin, rules.py.

// Rule 1, looked at before the schema: whether `schema` is the version of another zoo. Returns that
// version; nothing where it is ours, or no version at all, which the schema refuses.
[[nodiscard]] std::optional<std::string> other_version(const Json& manifest);

// Rules 2 to 10 for a manifest that keeps the schema: the first fault, with the path of the field.
[[nodiscard]] std::optional<std::string> broken_rule(const Json& manifest);

}  // namespace zoo
