#include "engines/onnxruntime_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace zoo::onnxruntime {

namespace {

// Where the table comes from: the one function that the library exports for it.
struct Base {
  const void* (*get_table)(uint32_t version);
  const char* (*get_version)();
};
using GetBase = const Base* (*)();
constexpr const char* kGetBase = "OrtGetApiBase";

[[noreturn]] void fail_library(const std::string& reason) {
  fail_machine("the artifact needs ONNX Runtime: " + reason +
               "; pip install onnxruntime, then build zoo-run again");
}

void* open_first(std::span<const char* const> names) {
  std::string reason;
  for (const char* name : names) {
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
    const char* error = ::dlerror();
    if (reason.empty()) reason = error != nullptr ? error : "its library cannot be loaded";
  }
  fail_library(reason);
}

}  // namespace

Library::Library(std::span<const char* const> names) {
  void* library = open_first(names);
  const auto get_base = reinterpret_cast<GetBase>(::dlsym(library, kGetBase));
  if (get_base == nullptr) fail_library("its library has no " + std::string(kGetBase));
  const Base* base = get_base();
  version_ = base->get_version();
  table_ = static_cast<const AnyFunction*>(base->get_table(kTableVersion));
  if (table_ == nullptr) {
    fail_library("1.5 or newer is wanted, " + version_ + " was found");
  }
}

void Library::check(Status* status) const {
  if (status == nullptr) return;
  const Owned<Status> held(status, Release<Status>{this});
  throw Error(at(kGetErrorMessage)(status));
}

}  // namespace zoo::onnxruntime
