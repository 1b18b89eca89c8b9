#include "base/flags.h"

#include "base/error.h"
#include "base/text.h"

namespace zoo {

void fail_usage(const std::string& message) {
  throw RunnerError(ExitCode::kUsage, message + "; see zoo-run --help");
}

std::string shown(const std::string& text) {
  constexpr size_t kShownBytes = 40;
  const bool cut = text.size() > kShownBytes;
  return "'" + printable(text.substr(0, kShownBytes)) + (cut ? "..." : "") + "'";
}

}  // namespace zoo
