#include "torch/onednn_log.h"

#include <ATen/native/verbose_wrapper.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <iostream>

#include "base/file_descriptor.h"

namespace zoo {

namespace {

// stdout is a file in memory as long as this lives.
class CaughtStdout {
 public:
  CaughtStdout() : file_(::memfd_create("onednn", MFD_CLOEXEC)) {
    flush();
    if (file_.valid()) before_ = FileDescriptor(::dup(STDOUT_FILENO));
    if (before_.valid()) ::dup2(file_.get(), STDOUT_FILENO);
  }
  CaughtStdout(const CaughtStdout&) = delete;
  CaughtStdout& operator=(const CaughtStdout&) = delete;
  ~CaughtStdout() { restore(); }

  // Gives stdout back. What was written until then.
  std::string text() {
    restore();
    std::string text;
    std::array<char, 65536> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    ssize_t read = 0;
    while ((read = ::pread(file_.get(), buffer.data(), buffer.size(),
                           static_cast<off_t>(text.size()))) > 0) {
      text.append(buffer.data(), static_cast<size_t>(read));
    }
    return text;
  }

 private:
  static void flush() {
    std::cout.flush();
    std::fflush(stdout);
  }
  void restore() {
    flush();
    if (before_.valid()) ::dup2(before_.get(), STDOUT_FILENO);
    before_ = FileDescriptor();
  }

  FileDescriptor file_;
  FileDescriptor before_;
};

// oneDNN's lowest level that names each kernel.
class Speaking {
 public:
  Speaking() { torch::verbose::_mkldnn_set_verbose(1); }
  Speaking(const Speaking&) = delete;
  Speaking& operator=(const Speaking&) = delete;
  ~Speaking() { torch::verbose::_mkldnn_set_verbose(0); }
};

}  // namespace

std::string onednn_log(const std::function<void()>& call) {
  CaughtStdout caught;
  {
    const Speaking speaking;
    call();
  }
  return caught.text();
}

}  // namespace zoo
