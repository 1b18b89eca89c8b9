#pragma once

#include <string>

namespace zoo {

// SIGINT and SIGTERM ask the program to stop: the first one is noticed between two calls, so that
// everything is cleaned up; a second one ends the process at once.
void install_signal_handlers();

// The signal that asked to stop, or 0.
[[nodiscard]] int pending_signal() noexcept;

// Fails with exit code 130 or 143 once a signal has come.
void throw_if_interrupted();

// Names one file that must not be left behind by a second signal; an empty path names none.
void set_unfinished_file(const std::string& path);

}  // namespace zoo
