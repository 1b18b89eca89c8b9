#pragma once

#include <stdexcept>
#include <string>

#include "base/text.h"

namespace zoo {

// The exit codes of zoo-run; the Python package uses the same numbers.
enum class ExitCode {
  kDone = 0,
  kCheckFailed = 1,   // parity failed, or --strict and the measurement is INVALID
  kUsage = 2,         // the command line is wrong
  kBadArtifact = 3,   // the artifact or the input is bad, or was built for something else
  kMachineLacks = 4,  // a library, a GPU, an engine, a permission, memory, disk
  kInterrupted = 130,
  kPipeClosed = 141,  // nobody reads stdout any more; nothing is said
  kTerminated = 143,
};

// The one exception of this program: what was given, what is allowed, what to do; one line. A name
// from a file may be part of it, so it is made printable here.
class RunnerError : public std::runtime_error {
 public:
  RunnerError(ExitCode code, const std::string& message)
      : std::runtime_error(printable(message)), code_(code) {}

  [[nodiscard]] ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

[[noreturn]] inline void fail_artifact(const std::string& message) {
  throw RunnerError(ExitCode::kBadArtifact, message);
}

[[noreturn]] inline void fail_machine(const std::string& message) {
  throw RunnerError(ExitCode::kMachineLacks, message);
}

}  // namespace zoo
