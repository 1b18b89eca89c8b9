#include "base/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

extern char** environ;

namespace zoo {

namespace {

constexpr const char* kThisProgram = "/proc/self/exe";
constexpr int kPollMs = 200;
constexpr std::string_view kOwnName = "zoo-run: ";

[[noreturn]] void fail_start(int error) {
  fail_machine(std::string("a second process cannot be started: ") + std::strerror(error));
}

std::pair<FileDescriptor, FileDescriptor> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail_start(errno);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

// The whole file, from its start.
std::string read_all(int file) {
  std::string text;
  std::array<char, 4096> part{};
  for (;;) {
    const ssize_t count = ::pread(file, part.data(), part.size(), static_cast<off_t>(text.size()));
    if (count <= 0) return text;
    text.append(part.data(), static_cast<size_t>(count));
  }
}

pid_t spawn(const std::vector<std::string>& arguments, int in, int out, int errors) {
  std::vector<std::string> owned = {"zoo-run"};
  owned.insert(owned.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : owned) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, kThisProgram, &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail_start(error);
  return pid;
}

}  // namespace

Child::Child(const std::vector<std::string>& arguments) {
  auto [their_in, to] = make_pipe();
  auto [from, their_out] = make_pipe();
  to_ = std::move(to);
  from_ = std::move(from);
  errors_ = FileDescriptor(::memfd_create("zoo-run", MFD_CLOEXEC));
  if (!errors_.valid()) fail_start(errno);
  pid_ = spawn(arguments, their_in.get(), their_out.get(), errors_.get());
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      to_(std::move(other.to_)),
      from_(std::move(other.from_)),
      errors_(std::move(other.errors_)),
      buffer_(std::move(other.buffer_)) {}

Child::~Child() {
  if (pid_ < 0) return;
  to_ = FileDescriptor();  // it ends where it waits for a line
  ::kill(pid_, SIGTERM);   // and between two calls where it is at work
  ::waitpid(pid_, nullptr, 0);
}

void Child::send(const std::string& line) {
  const std::string text = line + "\n";
  // Such a short line fits into the pipe as a whole. Where nobody reads it, receive() says why.
  static_cast<void>(!::write(to_.get(), text.data(), text.size()));
}

std::string Child::receive() {
  std::array<char, 65536> part{};
  for (;;) {
    throw_if_interrupted();
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      const std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    pollfd waiting{from_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kPollMs) <= 0) continue;
    const ssize_t count = ::read(from_.get(), part.data(), part.size());
    if (count == 0) fail_ended();
    if (count > 0) buffer_.append(part.data(), static_cast<size_t>(count));
  }
}

void Child::fail_ended() {
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  throw_if_interrupted();
  if (WIFSIGNALED(status)) {
    fail_machine(std::string("its process was ended by ") + ::strsignal(WTERMSIG(status)));
  }
  std::string text = read_all(errors_.get());
  text = text.substr(0, text.find_last_not_of('\n') + 1);
  const size_t own = text.rfind(kOwnName);  // libraries may have said something before it
  if (own != std::string::npos) text.erase(0, own + kOwnName.size());
  throw RunnerError(static_cast<ExitCode>(WEXITSTATUS(status)), text);
}

}  // namespace zoo
