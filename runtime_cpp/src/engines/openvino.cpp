#include <dlfcn.h>

#include "artifact/onnx_scan.h"
#include "base/error.h"
#include "engines/engine.h"
#include "engines/openvino_module.h"

namespace zoo {

namespace {

LoadOpenVino open_module() {
  // By its bare name: the run path leads to the folder of zoo-run. It stays loaded, as its threads
  // outlive the engine.
  void* module = ::dlopen(kOpenVinoModule, RTLD_NOW | RTLD_LOCAL);
  void* load = module != nullptr ? ::dlsym(module, kLoadOpenVino) : nullptr;
  if (load != nullptr) return reinterpret_cast<LoadOpenVino>(load);
  const char* error = ::dlerror();
  const std::string reason = error != nullptr ? error : "its engine cannot be loaded";
  fail_machine("the artifact needs OpenVINO: " + reason +
               "; pip install openvino, then build zoo-run again");
}

}  // namespace

std::unique_ptr<Engine> load_openvino(const LoadRequest& request) {
  if (request.manifest.device != "cpu") {
    fail_artifact("OpenVINO programs run on cpu, the artifact is for " + request.manifest.device +
                  ": compile it for cpu");
  }
  const SealedView view(request.file);
  scan_onnx(view.bytes(), request.program.file);
  std::unique_ptr<Engine> engine;
  open_module()({.model = view.bytes(),
                 .file = request.program.file,
                 .precision = request.manifest.precision,
                 .byte_input = request.manifest.input.bytes,
                 .outputs = request.manifest.outputs,
                 .threads = request.threads,
                 .callers = request.callers},
                engine);
  return engine;
}

}  // namespace zoo
