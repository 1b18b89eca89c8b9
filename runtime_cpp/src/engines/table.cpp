#include <array>
#include <string_view>

#include "engines/engine.h"

namespace zoo {

namespace {

struct Row {
  EngineKind kind;
  LoadEngine load;
};

// A new engine is one file beside this one and a row here. TensorRT programs are TorchScript or
// .pt2 files whose operators come from the libraries that the manifest loads first.
constexpr std::array kEngines = {
    Row{{"inductor", ".pt2"}, load_inductor},
#ifdef ZOO_ONNXRUNTIME_FILE
    Row{{"onnx", ".onnx"}, load_onnxruntime},
#endif
#ifdef ZOO_HAS_OPENVINO
    Row{{"openvino", ".onnx"}, load_openvino},
#endif
    Row{{"tensorrt", ".pt2"}, load_inductor},      Row{{"tensorrt", ".ts"}, load_torchscript},
    Row{{"torchscript", ".ts"}, load_torchscript},
};

}  // namespace

LoadEngine find_engine(const std::string& backend, const std::string& file) {
  for (const Row& row : kEngines) {
    if (row.kind.backend == backend && file.ends_with(row.kind.suffix)) return row.load;
  }
  return nullptr;
}

std::vector<EngineKind> engine_kinds() {
  std::vector<EngineKind> kinds;
  for (const Row& row : kEngines) kinds.push_back(row.kind);
  return kinds;
}

std::string engine_names() {
  std::string names;
  for (const auto& [backend, suffix] : engine_kinds()) {
    names += (names.empty() ? "" : ", ") + std::string(backend) + " " + std::string(suffix);
  }
  return names;
}

}  // namespace zoo
