#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/manifest.h"
#include "artifact/sealed_file.h"

namespace zoo {

// What runs a program. One class for each kind of file; the input was validated before, the output
// is validated after, so an engine only calls.
class Engine {
 public:
  Engine() = default;
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The outputs in the order of the manifest. They need not be contiguous.
  [[nodiscard]] virtual std::vector<at::Tensor> run(const at::Tensor& input) = 0;

  // Why a figure taken of these calls is not one of the program: a line for the report, or empty.
  // Calls it once more.
  [[nodiscard]] virtual std::string find_flaw(const at::Tensor& input) {
    static_cast<void>(input);
    return "";
  }

  // What runs it where that is not torch: "OpenVINO 2026.4.1".
  [[nodiscard]] virtual std::string runtime() const { return ""; }

  // Whether so many threads may call run() at once as LoadRequest::callers says, each of them with
  // a batch that was run before. The weights are in memory once.
  [[nodiscard]] virtual bool is_shared() const { return false; }
};

// What an engine is made from. All of it must live as long as the engine.
struct LoadRequest {
  const SealedFile& file;  // the verified copy of program.file
  const Program& program;
  const Manifest& manifest;
  int threads = 0;
  bool cuda_graph = false;  // its calls will be captured
  int callers = 1;          // threads that will call it at once; each call has `threads` threads
};
using LoadEngine = std::unique_ptr<Engine> (*)(const LoadRequest& request);

// Each in its own file under engines/.
[[nodiscard]] std::unique_ptr<Engine> load_torchscript(const LoadRequest& request);
[[nodiscard]] std::unique_ptr<Engine> load_inductor(const LoadRequest& request);
[[nodiscard]] std::unique_ptr<Engine> load_openvino(const LoadRequest& request);
[[nodiscard]] std::unique_ptr<Engine> load_onnxruntime(const LoadRequest& request);

// The engine for a backend's file, by its suffix; null where this zoo-run has none.
[[nodiscard]] LoadEngine find_engine(const std::string& backend, const std::string& file);

// A backend and the suffix of files that an engine runs for it.
struct EngineKind {
  std::string_view backend;
  std::string_view suffix;
};
// What find_engine knows; the rows of one backend stand together.
[[nodiscard]] std::vector<EngineKind> engine_kinds();

// "inductor .pt2, torchscript .ts, ...": what find_engine knows, for messages.
[[nodiscard]] std::string engine_names();

}  // namespace zoo
