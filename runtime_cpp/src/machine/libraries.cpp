#include "machine/libraries.h"

#include <dlfcn.h>
#include <unistd.h>

#include "base/error.h"

namespace zoo {

namespace {

std::string locate(const std::string& name, const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) {
    std::string path = folder + "/" + name;
    if (::access(path.c_str(), F_OK) == 0) return path;
  }
  return name;
}

}  // namespace

void load_libraries(const std::vector<std::string>& names,
                    const std::vector<std::string>& folders) {
  for (const std::string& name : names) {
    // Global and at once: what they register must be there for the program that comes next.
    if (::dlopen(locate(name, folders).c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) continue;
    const char* error = ::dlerror();
    fail_machine("the artifact needs the library " + name + ": " +
                 (error != nullptr ? error : "it cannot be loaded") +
                 "; install it or say where it is with --library-path DIR");
  }
}

}  // namespace zoo
