#pragma once

#include <functional>
#include <string>

namespace zoo {

// What oneDNN says on stdout of each of its kernels that `call` runs. Empty where it cannot be
// caught. Nothing may be measured while it speaks, and it is silent afterwards.
[[nodiscard]] std::string onednn_log(const std::function<void()>& call);

}  // namespace zoo
