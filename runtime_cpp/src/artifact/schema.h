#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace zoo {

// The part of JSON Schema that manifest.schema.json uses. Python has a twin, schema.py: both visit
// the keywords in the same order and stop at the first fault, so they name the same field. Two
// rules differ from JSON Schema: 1.0 is not an integer, and a pattern must match the whole text.

// The schema of manifest.json, in the order of its file.
[[nodiscard]] const OrderedJson& manifest_schema();

// The first way in which `value` breaks `schema`, with its path, such as "programs[0].batch must
// have 2 to 2 entries, it has 3"; nothing where it keeps it. Throws std::invalid_argument for a
// keyword that this interpreter does not know.
[[nodiscard]] std::optional<std::string> first_fault(const Json& value, const OrderedJson& schema);

}  // namespace zoo
