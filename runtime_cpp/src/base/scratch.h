#pragma once

#include <string>

#include "base/file_descriptor.h"

namespace zoo {

// A private temporary folder for this process, made TMPDIR while it lives. Loaders unpack a
// program there and leave it behind when they fail; it goes with this object. Folders that killed
// runs left are removed too.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string parent_;
  std::string path_;
  FileDescriptor lock_;
};

// Removes the folders in `parent` that a dead zoo-run of this user left. Returns how many.
int sweep_scratch(const std::string& parent);

}  // namespace zoo
