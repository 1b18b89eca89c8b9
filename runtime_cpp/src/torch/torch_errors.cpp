#include "torch/torch_errors.h"

namespace zoo {

namespace {

// The line that names the cause: the first, but the last of an error inside a TorchScript program.
std::string telling_line(const std::string& what) {
  const size_t first = what.find_first_not_of(" \n");
  if (first == std::string::npos) return "torch does not say why";
  if (!what.starts_with("The following operation failed")) {
    return what.substr(first, what.find('\n', first) - first);
  }
  const size_t end = what.find_last_not_of(" \n") + 1;
  const size_t before = what.rfind('\n', end - 1);
  const size_t start = before == std::string::npos ? 0 : before + 1;
  return what.substr(start, end - start);
}

}  // namespace

void fail_from_torch(const std::string& doing, const std::string& what) {
  const std::string message = doing + ": " + telling_line(what);
  if (what.find("can't allocate memory") != std::string::npos) fail_machine(message);
  fail_artifact(message);
}

}  // namespace zoo
