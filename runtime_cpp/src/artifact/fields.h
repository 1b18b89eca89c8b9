#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace zoo {

// One value of a JSON document together with the path that led to it, so that each error can name
// the field. Every getter fails with exit code 3 when the value is missing or has another type.
class Field {
 public:
  Field(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  [[nodiscard]] Field operator[](const std::string& key) const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  [[nodiscard]] bool is_null() const { return value_->is_null(); }
  [[nodiscard]] bool has(const std::string& key) const { return value_->contains(key); }
  [[nodiscard]] std::string string() const;
  [[nodiscard]] int64_t integer(int64_t min, int64_t max) const;
  [[nodiscard]] double number() const;  // finite
  [[nodiscard]] bool boolean() const;
  [[nodiscard]] std::vector<Field> list() const;
  [[nodiscard]] std::vector<std::pair<std::string, Field>> object() const;
  [[nodiscard]] std::vector<std::string> strings() const;

  [[nodiscard]] std::optional<std::string> string_or_null() const;
  [[nodiscard]] std::optional<double> number_or_null() const;

  // Fails, naming this field.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  [[noreturn]] void fail_type(const std::string& wanted) const;

  const Json* value_;
  std::string path_;
};

}  // namespace zoo
