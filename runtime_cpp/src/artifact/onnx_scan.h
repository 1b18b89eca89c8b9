#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace zoo {

// Reads the structure of an ONNX file, and nothing else: fails where the file is damaged, is none,
// or lets a tensor keep its data in another file. A loader would open that file, wherever it is,
// and no hash guards it. `name` names the file in messages.
void scan_onnx(std::span<const std::byte> bytes, const std::string& name);

}  // namespace zoo
