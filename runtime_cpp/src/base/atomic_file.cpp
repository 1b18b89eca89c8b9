#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/interrupt.h"

namespace zoo {

namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

[[noreturn]] void fail_write(const std::string& path, int error) {
  fail_machine(path + ": cannot be written: " + std::strerror(error));
}

void refuse_other_than_file(const std::string& path) {
  struct stat status{};
  if (path.empty() || path.back() == '/') fail_write(path, EISDIR);
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail_write(path, errno);
    return;
  }
  if (S_ISDIR(status.st_mode)) fail_write(path, EISDIR);
  if (S_ISLNK(status.st_mode)) {
    fail_machine(path + ": is a symbolic link, which is not followed: name the file itself");
  }
  if (!S_ISREG(status.st_mode)) fail_machine(path + ": is not a regular file: name another");
}

// A file beside `path` that goes again unless it was renamed.
class Temporary {
 public:
  explicit Temporary(const std::string& path) : name_(path + ".XXXXXX") {
    file_ = FileDescriptor(::mkostemp(name_.data(), O_CLOEXEC));
    if (!file_.valid()) fail_write(path, errno);
    set_unfinished_file(name_);
  }
  ~Temporary() {
    if (!name_.empty()) ::unlink(name_.c_str());
    set_unfinished_file("");
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  [[nodiscard]] int fd() const { return file_.get(); }
  void rename_to(const std::string& path) {
    if (::rename(name_.c_str(), path.c_str()) != 0) fail_write(path, errno);
    name_.clear();
  }

 private:
  std::string name_;
  FileDescriptor file_;
};

mode_t default_mode() {
  const mode_t mask = ::umask(0);  // there is no other way to read it
  ::umask(mask);
  return 0666 & ~mask;
}

}  // namespace

void check_writable(const std::string& path) {
  refuse_other_than_file(path);
  const Temporary probe(path);
}

void write_atomically(const std::string& path, std::string_view bytes) {
  write_atomically(path, std::vector{bytes});
}

void write_atomically(const std::string& path, const std::vector<std::string_view>& pieces) {
  refuse_other_than_file(path);
  Temporary file(path);
  for (std::string_view bytes : pieces) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(file.fd(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_write(path, errno);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }
  if (::fchmod(file.fd(), default_mode()) != 0 || ::fsync(file.fd()) != 0) fail_write(path, errno);
  file.rename_to(path);
  // The new name is on disk only once its folder is.
  const FileDescriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || (::fsync(folder.get()) != 0 && errno != EINVAL)) fail_write(path, errno);
}

}  // namespace zoo
