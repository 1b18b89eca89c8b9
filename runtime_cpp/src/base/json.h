#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace zoo {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

// Parses one JSON document. Refuses what other parsers let through: a duplicate key at any depth,
// and nesting deeper than any manifest needs. `name` names the file in messages.
[[nodiscard]] Json parse_json(std::string_view text, const std::string& name);

// Indented text; a string that is not UTF-8 (a path may be anything) is written with U+FFFD.
[[nodiscard]] std::string dump_json(const OrderedJson& document);

}  // namespace zoo
