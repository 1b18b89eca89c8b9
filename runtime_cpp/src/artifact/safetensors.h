#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "artifact/tensor_view.h"

namespace zoo {

// The tensors of a safetensors file, in the order of their bytes: 8 bytes of little-endian length,
// that many bytes of JSON, and the tensors one after the other. Nothing in the file is believed:
// docs/artifact.md has the rules. `file` names it in messages. Fails with exit code 3.
[[nodiscard]] std::vector<TensorView> parse_safetensors(std::span<const std::byte> bytes,
                                                        const std::string& file);

// The start of such a file, for tensors whose bytes are as long as their shapes say and follow it
// in this order.
[[nodiscard]] std::string safetensors_header(const std::vector<TensorView>& tensors);

// The whole of it.
[[nodiscard]] std::string safetensors_bytes(const std::vector<TensorView>& tensors);

}  // namespace zoo
