#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "engines/engine.h"

namespace zoo {

// What passes between zoo-run and the module that is linked with OpenVINO. The module is opened
// when an OpenVINO artifact is, so that no other start pays for it or breaks when it is not there.
struct OpenVinoRequest {
  std::span<const std::byte> model;  // an ONNX file without external data
  std::string_view file;             // its name, for messages
  std::string_view precision;        // the manifest's
  bool byte_input = false;
  std::span<const Output> outputs;
  int threads = 0;  // of one call
  int callers = 1;
};

// `engine` is set, or a RunnerError is thrown.
using LoadOpenVino = void (*)(const OpenVinoRequest& request, std::unique_ptr<Engine>& engine);
inline constexpr const char* kOpenVinoModule = "zoo-run-openvino.so";
inline constexpr const char* kLoadOpenVino = "zoo_load_openvino";

}  // namespace zoo
