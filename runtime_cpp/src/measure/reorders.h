#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace zoo {

// How many lines of oneDNN's verbose output `log` say that a weight was brought into another
// layout. `shapes` are the weights'. oneDNN gives those of groups a dimension more, (groups,
// outputs / groups,
// ...), and turns those of some layers.
[[nodiscard]] int64_t count_weight_reorders(std::string_view log,
                                            const std::vector<std::vector<int64_t>>& shapes);

}  // namespace zoo
