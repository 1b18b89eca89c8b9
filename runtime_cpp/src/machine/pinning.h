#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace zoo {

// The cores that this process may use, ascending; empty where that cannot be found out.
[[nodiscard]] std::vector<int> core_numbers();

// For each stream cores of its own, one for each of its threads; empty where there are too few.
[[nodiscard]] std::vector<std::vector<int>> divide_cores(std::span<const int> cores, size_t streams,
                                                         size_t threads);

// Lets this thread run on these cores alone, and the threads that it starts from now on. Whether
// the system did it.
[[nodiscard]] bool pin_this_thread(std::span<const int> cores);

}  // namespace zoo
