#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace zoo {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 32;

// Parses one JSON document. Refuses what other parsers let through: a byte-order mark, a duplicate
// key at any depth, and more than `max_depth` objects and lists inside each other. NaN, numbers
// that no double holds, and halves of surrogate pairs are not JSON either. `name` names the file in
// messages. Fails with exit code 3.
[[nodiscard]] Json parse_json(std::string_view text, const std::string& name,
                              int max_depth = kMaxJsonDepth);

// Indented ASCII; a string that is not UTF-8 (a path may be anything) is written with U+FFFD.
[[nodiscard]] std::string dump_json(const OrderedJson& document);

// The same in one line, with its end.
[[nodiscard]] std::string dump_json_line(const OrderedJson& document);

}  // namespace zoo
