#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace zoo {

// Why a name must not be used inside the artifact's folder or an archive, or nothing where it is
// fine: relative, no "." or "..", no empty part, no backslash, no control character.
[[nodiscard]] std::optional<std::string> unsafe_name(std::string_view name);

}  // namespace zoo
