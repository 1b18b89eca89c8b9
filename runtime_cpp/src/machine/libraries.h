#pragma once

#include <string>
#include <vector>

namespace zoo {

// Loads shared libraries for the whole process, in order: first looked for in `folders`, then
// where the system's loader looks. They stay loaded. Fails with 4, naming the library.
void load_libraries(const std::vector<std::string>& names, const std::vector<std::string>& folders);

}  // namespace zoo
