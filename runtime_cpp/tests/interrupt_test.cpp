#include "base/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixtures.h"

namespace zoo {
namespace {

// Runs `body` in a child; its exit status, or minus the signal that killed it.
template <typename Body>
int status_of_child(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    install_signal_handlers();
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int code_after(int signal_number) {
  ::raise(signal_number);
  return static_cast<int>(testing::exit_code_of([] { throw_if_interrupted(); }));
}

TEST(Interrupt, TheFirstSignalIsNoticedBetweenCalls) {
  EXPECT_EQ(status_of_child([] { return code_after(SIGINT); }), 130);
  EXPECT_EQ(status_of_child([] { return code_after(SIGTERM); }), 143);
  EXPECT_EQ(status_of_child([] { return code_after(SIGPIPE); }), 0);
}

TEST(Interrupt, TheSecondSignalEndsAtOnceAndLeavesNoUnfinishedFile) {
  const testing::TempFolder folder;
  testing::write_file(folder / "y.tmp", "half");
  const int status = status_of_child([&] {
    set_unfinished_file(folder / "y.tmp");
    ::raise(SIGINT);
    ::raise(SIGTERM);
    return 0;
  });
  EXPECT_EQ(status, 143);
  EXPECT_FALSE(std::filesystem::exists(folder / "y.tmp"));
}

}  // namespace
}  // namespace zoo
