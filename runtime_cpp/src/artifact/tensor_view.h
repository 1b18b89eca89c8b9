#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zoo {

// A tensor as it lies in a file: C order, little-endian. The bytes belong to whoever read the file,
// and need not be aligned.
struct TensorView {
  std::string name;   // empty where the file gives none
  std::string dtype;  // as safetensors names it: F32, F64, U8, ...
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

inline constexpr size_t kMaxRank = 9;  // the rows, and as many extents as an output may have

// One value of a tensor of this type, counted in C order; it may lie unaligned.
template <typename T>
[[nodiscard]] T value_at(const TensorView& tensor, size_t index) {
  T value{};
  std::memcpy(&value, tensor.bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

// Bytes of one value; nothing for a name that is not a dtype.
[[nodiscard]] std::optional<int64_t> dtype_bytes(std::string_view dtype);

// The size of a tensor in bytes; nothing where the product does not fit into 63 bits on the way.
[[nodiscard]] std::optional<int64_t> tensor_bytes(std::string_view dtype,
                                                  const std::vector<int64_t>& shape);

// Whether no value is NaN or Inf.
[[nodiscard]] bool all_finite(const TensorView& tensor);

// "F32 [2, 3]"
[[nodiscard]] std::string describe(std::string_view dtype, const std::vector<int64_t>& shape);

}  // namespace zoo
