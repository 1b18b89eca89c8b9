#include "artifact/sealed_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "artifact/sha256.h"
#include "base/error.h"

namespace zoo {

namespace {

constexpr size_t kCopyBytes = size_t{1} << 20;
constexpr std::chrono::milliseconds kPause{10};

// Errors of the machine. All others say that the file is not there, or is something else: a socket,
// a device, a name that no file can have.
constexpr std::array kMachineErrors = {EACCES, EPERM, EIO, EMFILE, ENFILE, ENOMEM};

[[noreturn]] void fail_open(const std::string& name, int error) {
  const std::string message = name + ": " + std::strerror(error);
  if (std::ranges::find(kMachineErrors, error) != kMachineErrors.end()) fail_machine(message);
  if (error == ELOOP) fail_artifact(name + ": is a symbolic link; it must be a regular file");
  if (error == ENXIO) fail_artifact(name + ": is not a regular file");  // as a socket says it
  fail_artifact(message);
}

[[noreturn]] void fail_too_large(const std::string& name, uint64_t max_bytes) {
  fail_artifact(name + ": is larger than " + std::to_string(max_bytes) + " bytes");
}

FileDescriptor require_regular(FileDescriptor file, const std::string& name) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) fail_open(name, errno);
  if (!S_ISREG(status.st_mode)) fail_artifact(name + ": is not a regular file");
  return file;
}

void write_all(int fd, std::span<const std::byte> bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      fail_machine(name + ": cannot be copied into memory: " + std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

}  // namespace

SealedFile::SealedFile(FileDescriptor copy, uint64_t size, std::string sha256)
    : copy_(std::move(copy)), size_(size), sha256_(std::move(sha256)) {}

std::string SealedFile::path() const { return "/proc/self/fd/" + std::to_string(copy_.get()); }

SealedView::SealedView(const SealedFile& file) {
  if (file.size() == 0) return;  // nothing can be mapped, and an empty span says so
  void* start = ::mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.copy_.get(), 0);
  if (start == MAP_FAILED) {
    fail_machine(std::string("a file in memory cannot be mapped: ") + std::strerror(errno));
  }
  bytes_ = {static_cast<const std::byte*>(start), file.size()};
}

SealedView::~SealedView() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

FileDescriptor open_folder(const std::string& path) {
  FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.valid()) return folder;
  const int error = errno;
  if (error == ENOTDIR) {
    fail_artifact(path + ": is not a folder; an artifact is the folder that holds manifest.json");
  }
  fail_open(path, error);
}

FileDescriptor open_inside(const FileDescriptor& folder, const std::string& name) {
  // One component at a time: O_NOFOLLOW speaks of the last one only.
  FileDescriptor parent(::fcntl(folder.get(), F_DUPFD_CLOEXEC, 0));
  if (!parent.valid()) fail_open(name, errno);
  size_t start = 0;
  for (size_t slash; (slash = name.find('/', start)) != std::string::npos; start = slash + 1) {
    const std::string part = name.substr(start, slash - start);
    FileDescriptor next(
        ::openat(parent.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) fail_open(name, errno);
    parent = std::move(next);
  }
  // O_NONBLOCK: opening a pipe must fail below as "not regular", not wait for a writer.
  FileDescriptor file(
      ::openat(parent.get(), name.c_str() + start, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) fail_open(name, errno);
  return require_regular(std::move(file), name);
}

FileDescriptor open_regular(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) fail_open(path, errno);
  return require_regular(std::move(file), path);
}

uint64_t file_size(const FileDescriptor& file, const std::string& name) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) fail_open(name, errno);
  return static_cast<uint64_t>(status.st_size);
}

void freeze(const FileDescriptor& copy, const std::string& name,
            std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  while (::fcntl(copy.get(), F_ADD_SEALS, kSeals) != 0) {
    if (errno != EBUSY || std::chrono::steady_clock::now() > end) {
      fail_machine(name + ": its copy in memory cannot be sealed: " + std::strerror(errno));
    }
    std::this_thread::sleep_for(kPause);
  }
}

SealedFile seal(const FileDescriptor& file, const std::string& name, uint64_t max_bytes) {
  // Said before anything is read: a sparse file of any size costs nothing to make.
  if (file_size(file, name) > max_bytes) fail_too_large(name, max_bytes);
  FileDescriptor copy(::memfd_create("zoo-run", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.valid()) {
    fail_machine(name + ": no file in memory can be made: " + std::strerror(errno));
  }
  Sha256 hash;
  uint64_t size = 0;
  std::vector<std::byte> buffer(kCopyBytes);
  while (true) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_machine(name + ": cannot be read: " + std::strerror(errno));
    if (got == 0) break;
    size += static_cast<uint64_t>(got);
    if (size > max_bytes) fail_too_large(name, max_bytes);  // it has grown since
    const std::span<const std::byte> bytes(buffer.data(), static_cast<size_t>(got));
    hash.update(bytes);
    write_all(copy.get(), bytes, name);
  }
  freeze(copy, name);
  return SealedFile(std::move(copy), size, hash.hex());
}

}  // namespace zoo
