#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/file_descriptor.h"

namespace zoo {

// A private copy of a file in memory that nobody can change any more, this process included.
// What is hashed is what is loaded, whatever happens to the file on disk meanwhile.
class SealedFile {
 public:
  SealedFile(FileDescriptor copy, uint64_t size, std::string sha256);

  [[nodiscard]] uint64_t size() const noexcept { return size_; }
  [[nodiscard]] const std::string& sha256() const noexcept { return sha256_; }
  // A path that opens this copy, valid while the object lives.
  [[nodiscard]] std::string path() const;

 private:
  friend class SealedView;
  FileDescriptor copy_;
  uint64_t size_;
  std::string sha256_;
};

// The bytes of a sealed file, mapped read-only.
class SealedView {
 public:
  explicit SealedView(const SealedFile& file);
  ~SealedView();
  SealedView(const SealedView&) = delete;
  SealedView& operator=(const SealedView&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

// Opens a folder. The path the user gave may lead through symbolic links.
[[nodiscard]] FileDescriptor open_folder(const std::string& path);

// Opens the regular file `name` inside `folder`, through no symbolic link.
[[nodiscard]] FileDescriptor open_inside(const FileDescriptor& folder, const std::string& name);

// Opens a regular file by the user's own path.
[[nodiscard]] FileDescriptor open_regular(const std::string& path);

[[nodiscard]] uint64_t file_size(const FileDescriptor& file, const std::string& name);

// Makes a file in memory immutable. The kernel refuses while something holds a page of it, which
// it may do itself for a moment: so this tries for a few seconds.
void freeze(const FileDescriptor& copy, const std::string& name,
            std::chrono::milliseconds patience = std::chrono::seconds{4});

// Copies the whole file, hashing what was copied; more than `max_bytes` is refused.
[[nodiscard]] SealedFile seal(const FileDescriptor& file, const std::string& name,
                              uint64_t max_bytes);

}  // namespace zoo
