#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/file_descriptor.h"

namespace zoo {

// This program once more, in a process of its own, which answers each line with a line. It ends
// with the object.
class Child {
 public:
  // Fails with 4 where no process can be started.
  explicit Child(const std::vector<std::string>& arguments);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void send(const std::string& line);

  // The next line, without its end. Where the process ended instead, fails with its exit code and
  // its own line on stderr. Fails with 130 or 143 once a signal has come.
  [[nodiscard]] std::string receive();

 private:
  [[noreturn]] void fail_ended();

  pid_t pid_ = -1;
  FileDescriptor to_;
  FileDescriptor from_;
  FileDescriptor errors_;  // what it wrote to stderr
  std::string buffer_;
};

}  // namespace zoo
