#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "artifact/tensor_view.h"

namespace zoo {

// The array of a .npy file, versions 1.0, 2.0 and 3.0, as numpy.save writes it: little-endian
// float32, float64 or uint8 in C order. The header is read by a parser of its own, which takes
// exactly what numpy writes, and runs nothing. `file` names it in messages. Fails with exit code 3.
[[nodiscard]] TensorView parse_npy(std::span<const std::byte> bytes, const std::string& file);

// The start of a .npy file, version 1.0, for a tensor of one of these dtypes, whose bytes follow
// it.
[[nodiscard]] std::string npy_header(const TensorView& tensor);
// The whole of it.
[[nodiscard]] std::string npy_bytes(const TensorView& tensor);

}  // namespace zoo
