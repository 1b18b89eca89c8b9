#include "base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>

#include "base/error.h"

namespace zoo {

namespace {

// Any thread may run the handler, so atomics; they are lock-free, so a handler may use them.
std::atomic<int> g_signal{0};
std::atomic<bool> g_has_unfinished{false};
// Read by the handler, so a fixed buffer.
std::array<char, PATH_MAX> g_unfinished{};

extern "C" void on_signal(int number) {
  if (g_signal.exchange(number) == 0) return;
  if (g_has_unfinished.load()) ::unlink(g_unfinished.data());
  ::_exit(128 + number);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action{};
  action.sa_handler = on_signal;
  ::sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  // Where nobody reads stdout any more, what is half-made must still be removed.
  ::signal(SIGPIPE, SIG_IGN);
}

int pending_signal() noexcept { return g_signal; }

void throw_if_interrupted() {
  if (g_signal == SIGINT) throw RunnerError(ExitCode::kInterrupted, "interrupted");
  if (g_signal == SIGTERM) throw RunnerError(ExitCode::kTerminated, "terminated");
}

void set_unfinished_file(const std::string& path) {
  g_has_unfinished = false;
  if (path.empty() || path.size() >= g_unfinished.size()) return;
  std::ranges::copy(path, g_unfinished.begin());
  g_unfinished[path.size()] = '\0';
  g_has_unfinished = true;
}

}  // namespace zoo
