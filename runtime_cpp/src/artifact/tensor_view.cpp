#include "artifact/tensor_view.h"

#include <array>
#include <cmath>
#include <limits>

namespace zoo {

namespace {

struct Row {
  std::string_view name;
  int64_t bytes;
};
constexpr std::array kDtypes = {Row{"BOOL", 1}, Row{"U8", 1},  Row{"I8", 1},   Row{"I16", 2},
                                Row{"U16", 2},  Row{"F16", 2}, Row{"BF16", 2}, Row{"I32", 4},
                                Row{"U32", 4},  Row{"F32", 4}, Row{"I64", 8},  Row{"U64", 8},
                                Row{"F64", 8}};

template <typename T>
bool all_finite_as(const TensorView& tensor) {
  for (size_t i = 0; i < tensor.bytes.size() / sizeof(T); ++i) {
    if (!std::isfinite(value_at<T>(tensor, i))) return false;
  }
  return true;
}

}  // namespace

std::optional<int64_t> dtype_bytes(std::string_view dtype) {
  for (const Row& row : kDtypes) {
    if (row.name == dtype) return row.bytes;
  }
  return std::nullopt;
}

std::optional<int64_t> tensor_bytes(std::string_view dtype, const std::vector<int64_t>& shape) {
  std::optional<int64_t> bytes = dtype_bytes(dtype);
  for (const int64_t extent : shape) {
    if (!bytes || extent < 0) return std::nullopt;
    if (extent > 0 && *bytes > std::numeric_limits<int64_t>::max() / extent) return std::nullopt;
    *bytes *= extent;
  }
  return bytes;
}

bool all_finite(const TensorView& tensor) {
  if (tensor.dtype == "F32") return all_finite_as<float>(tensor);
  if (tensor.dtype == "F64") return all_finite_as<double>(tensor);
  return true;
}

std::string describe(std::string_view dtype, const std::vector<int64_t>& shape) {
  std::string text(dtype);
  text += " [";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace zoo
