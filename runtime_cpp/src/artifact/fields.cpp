#include "artifact/fields.h"

#include <cmath>

#include "base/error.h"
#include "base/paths.h"

namespace zoo {

void Field::fail(const std::string& what) const {
  fail_artifact("manifest.json: " + path_ + " " + what);
}

void Field::fail_type(const std::string& wanted) const {
  fail("must be " + wanted + ", it is " + (is_null() ? "null" : value_->type_name()));
}

Field Field::operator[](const std::string& key) const {
  if (!value_->is_object()) fail_type("an object");
  const std::string path = path_.empty() ? key : path_ + "." + printable(key);
  const auto item = value_->find(key);
  if (item == value_->end()) fail_artifact("manifest.json: " + path + " is missing");
  return {*item, path};
}

std::string Field::string() const {
  if (!value_->is_string()) fail_type("a string");
  return value_->get<std::string>();
}

int64_t Field::integer(int64_t min, int64_t max) const {
  if (!value_->is_number_integer()) fail_type("an integer");
  // An unsigned number above the signed range would wrap around in get<int64_t>.
  const bool huge =
      value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (huge || value_->get<int64_t>() < min || value_->get<int64_t>() > max) {
    fail("must be from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return value_->get<int64_t>();
}

double Field::number() const {
  if (!value_->is_number()) fail_type("a number");
  const auto number = value_->get<double>();
  if (!std::isfinite(number)) fail("must be finite");
  return number;
}

bool Field::boolean() const {
  if (!value_->is_boolean()) fail_type("true or false");
  return value_->get<bool>();
}

std::vector<Field> Field::list() const {
  if (!value_->is_array()) fail_type("a list");
  std::vector<Field> items;
  for (const Json& item : *value_) {
    items.emplace_back(item, path_ + "[" + std::to_string(items.size()) + "]");
  }
  return items;
}

std::vector<std::pair<std::string, Field>> Field::object() const {
  if (!value_->is_object()) fail_type("an object");
  std::vector<std::pair<std::string, Field>> items;
  for (const auto& [key, value] : value_->items()) {
    items.emplace_back(key, Field(value, path_ + "." + printable(key)));
  }
  return items;
}

std::vector<std::string> Field::strings() const {
  std::vector<std::string> texts;
  for (const Field& item : list()) texts.push_back(item.string());
  return texts;
}

std::optional<std::string> Field::string_or_null() const {
  if (is_null()) return std::nullopt;
  if (!value_->is_string()) fail_type("a string or null");
  return string();
}

std::optional<double> Field::number_or_null() const {
  if (is_null()) return std::nullopt;
  if (!value_->is_number()) fail_type("a number or null");
  return number();
}

}  // namespace zoo
