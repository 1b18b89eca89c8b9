#include "artifact/schema.h"

#include <algorithm>
#include <array>
#include <regex>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "artifact/manifest_schema.h"
#include "base/text.h"

namespace zoo {

namespace {

using Fault = std::optional<std::string>;

constexpr size_t kShownBytes = 80;
constexpr std::array kNotes = {"$schema", "title", "description", "$defs", "x-suffixes"};

bool has_type(const Json& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  throw std::invalid_argument("the schema uses the unknown type " + type);
}

std::string shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', true);
  return text.size() <= kShownBytes ? text : text.substr(0, kShownBytes - 3) + "...";
}

size_t code_points(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// "must have 2 to 4 entries, it has 5" where the count is outside what the schema allows.
Fault count_fault(const OrderedJson& schema, const char* min_key, const char* max_key,
                  const std::string& path, size_t count, const char* things) {
  const size_t least = schema.value(min_key, size_t{0});
  const bool has_most = schema.contains(max_key);
  if (count >= least && (!has_most || count <= schema[max_key].get<size_t>())) return std::nullopt;
  const std::string end =
      has_most ? " to " + std::to_string(schema[max_key].get<size_t>()) : " or more";
  return path + " must have " + std::to_string(least) + end + " " + things + ", it has " +
         std::to_string(count);
}

class Interpreter {
 public:
  explicit Interpreter(const OrderedJson& schema)
      : defs_(schema.value("$defs", OrderedJson::object())) {}

  [[nodiscard]] Fault check(const Json& value, const OrderedJson& schema,
                            const std::string& path) const {
    refuse_unknown_keywords(schema);
    for (const Check& row : kChecks) {
      const bool applies = std::ranges::any_of(
          row.keywords, [&](const char* k) { return k != nullptr && schema.contains(k); });
      if (!applies) continue;
      if (Fault fault = (this->*row.check)(value, schema, path)) return fault;
    }
    return std::nullopt;
  }

 private:
  struct Check {
    std::array<const char*, 3> keywords;
    Fault (Interpreter::*check)(const Json&, const OrderedJson&, const std::string&) const;
  };
  static const std::array<Check, 8> kChecks;

  static void refuse_unknown_keywords(const OrderedJson& schema) {
    for (const auto& [key, unused] : schema.items()) {
      const auto is_key = [&name = key](const char* k) { return k != nullptr && name == k; };
      const bool known = std::ranges::any_of(kNotes, is_key) ||
                         std::ranges::any_of(kChecks, [&](const Check& row) {
                           return std::ranges::any_of(row.keywords, is_key);
                         });
      if (!known) throw std::invalid_argument("the schema uses the unknown keyword " + key);
    }
  }

  Fault ref(const Json& value, const OrderedJson& schema, const std::string& path) const {
    const auto target = schema["$ref"].get<std::string>();
    return check(value, defs_.at(target.substr(target.rfind('/') + 1)), path);
  }

  Fault any_of(const Json& value, const OrderedJson& schema, const std::string& path) const {
    Fault first;
    for (const OrderedJson& branch : schema["anyOf"]) {
      Fault fault = check(value, branch, path);
      if (!fault) return std::nullopt;
      if (!first) first = std::move(fault);
    }
    return first;
  }

  Fault type(const Json& value, const OrderedJson& schema, const std::string& path) const {
    const OrderedJson& given = schema["type"];
    const OrderedJson names = given.is_array() ? given : OrderedJson::array({given});
    std::string allowed;
    for (const OrderedJson& name : names) {
      if (has_type(value, name)) return std::nullopt;
      allowed += (allowed.empty() ? "" : " or ") + name.get<std::string>();
    }
    constexpr std::array kTypes = {"null",   "boolean", "string", "array",
                                   "object", "integer", "number"};
    const auto* is =
        std::ranges::find_if(kTypes, [&](const char* t) { return has_type(value, t); });
    return path + " must be of type " + allowed + ", it is " + *is;
  }

  // `enum` and `const`, whose values are texts.
  Fault values(const Json& value, const OrderedJson& schema, const std::string& path) const {
    const OrderedJson allowed =
        schema.contains("enum") ? schema["enum"] : OrderedJson::array({schema["const"]});
    std::string list;
    for (const OrderedJson& one : allowed) {
      if (value.is_string() && value.get_ref<const std::string&>() == one.get<std::string>()) {
        return std::nullopt;
      }
      list += (list.empty() ? "" : " or ") + one.get<std::string>();
    }
    return path + " must be " + list + ", it is " + shown(value);
  }

  // The length first: std::regex recurses, so long text must not reach it.
  Fault length(const Json& value, const OrderedJson& schema, const std::string& path) const {
    if (!value.is_string()) return std::nullopt;
    const auto& text = value.get_ref<const std::string&>();
    if (Fault fault =
            count_fault(schema, "minLength", "maxLength", path, code_points(text), "characters")) {
      return fault;
    }
    if (!schema.contains("pattern")) return std::nullopt;
    const auto pattern = schema["pattern"].get<std::string>();
    if (std::regex_match(text, std::regex(pattern))) return std::nullopt;
    return path + " must match " + pattern + ", it is " + shown(value);
  }

  Fault range(const Json& value, const OrderedJson& schema, const std::string& path) const {
    if (!value.is_number()) return std::nullopt;
    // Exact enough: no integer beyond a limit of at most 2^53 rounds to one within it.
    const auto number = value.get<double>();
    if (schema.contains("minimum") && number < schema["minimum"].get<double>()) {
      return path + " must be at least " + schema["minimum"].dump() + ", it is " + shown(value);
    }
    if (schema.contains("maximum") && number > schema["maximum"].get<double>()) {
      return path + " must be at most " + schema["maximum"].dump() + ", it is " + shown(value);
    }
    return std::nullopt;
  }

  Fault items(const Json& value, const OrderedJson& schema, const std::string& path) const {
    if (!value.is_array()) return std::nullopt;
    if (Fault fault = count_fault(schema, "minItems", "maxItems", path, value.size(), "entries")) {
      return fault;
    }
    if (!schema.contains("items")) return std::nullopt;
    for (size_t i = 0; i < value.size(); ++i) {
      const std::string where = path + "[" + std::to_string(i) + "]";
      if (Fault fault = check(value[i], schema["items"], where)) return fault;
    }
    return std::nullopt;
  }

  Fault properties(const Json& value, const OrderedJson& schema, const std::string& path) const {
    if (!value.is_object()) return std::nullopt;
    const std::string at = path.empty() ? "" : path + ".";
    const OrderedJson none = OrderedJson::object();
    for (const OrderedJson& key : schema.value("required", OrderedJson::array())) {
      const auto name = key.get<std::string>();
      if (!value.contains(name)) return at + name + " is missing";
    }
    const OrderedJson& known = schema.contains("properties") ? schema["properties"] : none;
    for (const auto& [key, inner] : known.items()) {
      if (!value.contains(key)) continue;
      if (Fault fault = check(value[key], inner, at + key)) return fault;
    }
    if (!schema.contains("additionalProperties")) return std::nullopt;
    for (const auto& [key, inner] : value.items()) {  // in the order of their keys
      if (known.contains(key)) continue;
      const std::string where = at + printable(key);
      if (Fault fault = check(inner, schema["additionalProperties"], where)) return fault;
    }
    return std::nullopt;
  }

  OrderedJson defs_;
};

// In the order in which they are looked at.
const std::array<Interpreter::Check, 8> Interpreter::kChecks = {{
    {{"$ref"}, &Interpreter::ref},
    {{"anyOf"}, &Interpreter::any_of},
    {{"type"}, &Interpreter::type},
    {{"enum", "const"}, &Interpreter::values},
    {{"minLength", "maxLength", "pattern"}, &Interpreter::length},
    {{"minimum", "maximum"}, &Interpreter::range},
    {{"minItems", "maxItems", "items"}, &Interpreter::items},
    {{"required", "properties", "additionalProperties"}, &Interpreter::properties},
}};

}  // namespace

const OrderedJson& manifest_schema() {
  static const OrderedJson schema = OrderedJson::parse(kManifestSchema);
  return schema;
}

Fault first_fault(const Json& value, const OrderedJson& schema) {
  return Interpreter(schema).check(value, schema, "");
}

}  // namespace zoo
