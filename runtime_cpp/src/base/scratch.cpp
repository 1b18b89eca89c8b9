#include "base/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace zoo {

namespace {

constexpr std::string_view kPrefix = "zoo-run-";
constexpr size_t kRandomLetters = 6;

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

// The pid in "zoo-run-<pid>-XXXXXX", for exactly that form.
std::optional<pid_t> owner_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  pid_t pid = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (parsed.ec != std::errc() || pid <= 0) return std::nullopt;
  name.remove_prefix(static_cast<size_t>(parsed.ptr - name.data()));
  if (name.size() != 1 + kRandomLetters || name.front() != '-') return std::nullopt;
  for (const char c : name.substr(1)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) return std::nullopt;
  }
  return pid;
}

// Removes `name` in `parent` with all that it holds. Symbolic links are removed, never followed.
void remove_tree(int parent, const char* name) {
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    ::unlinkat(parent, name, 0);
    return;
  }
  const Directory directory(::fdopendir(fd), ::closedir);
  if (directory == nullptr) {
    ::close(fd);
    return;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view item = entry->d_name;
    if (item != "." && item != "..") remove_tree(fd, entry->d_name);
  }
  ::unlinkat(parent, name, AT_REMOVEDIR);
}

bool is_abandoned(int parent, const char* name, pid_t pid) {
  struct stat status{};
  if (::fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode) ||
      status.st_uid != ::geteuid()) {
    return false;
  }
  if (::kill(pid, 0) == 0 || errno != ESRCH) return false;
  // A pid of another container looks dead from here; its lock does not.
  const FileDescriptor folder(
      ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  return folder.valid() && ::flock(folder.get(), LOCK_EX | LOCK_NB) == 0;
}

std::string temporary_folder() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

}  // namespace

int sweep_scratch(const std::string& parent) {
  const Directory directory(::opendir(parent.c_str()), ::closedir);
  if (directory == nullptr) return 0;
  const int fd = ::dirfd(directory.get());
  std::vector<std::string> abandoned;
  while (const dirent* entry = ::readdir(directory.get())) {
    const auto pid = owner_of(entry->d_name);
    if (pid && is_abandoned(fd, entry->d_name, *pid)) abandoned.emplace_back(entry->d_name);
  }
  for (const std::string& name : abandoned) remove_tree(fd, name.c_str());
  return static_cast<int>(abandoned.size());
}

Scratch::Scratch() : parent_(temporary_folder()) {
  sweep_scratch(parent_);
  std::string name = parent_ + "/" + std::string(kPrefix) + std::to_string(::getpid()) + "-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) {  // mode 0700
    fail_machine("no temporary folder can be made in " + parent_ + " (" + std::strerror(errno) +
                 "): set TMPDIR to a folder that can be written");
  }
  path_ = name;
  lock_ = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock_.valid()) ::flock(lock_.get(), LOCK_EX | LOCK_NB);
  ::setenv("TMPDIR", path_.c_str(), 1);
}

Scratch::~Scratch() {
  ::setenv("TMPDIR", parent_.c_str(), 1);
  remove_tree(AT_FDCWD, path_.c_str());
}

}  // namespace zoo
