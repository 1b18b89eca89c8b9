#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "manifest.h"
#include "sealed_file.h"

namespace zoo {

// What runs a program. One class for each kind of file that libtorch can load; the input was
// validated before, the output is validated after, so an engine only calls.
class Engine {
 public:
  Engine() = default;
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] virtual at::Tensor run(const at::Tensor& input) = 0;
};

// Loads `program` from its verified copy, which must live as long as the engine.
using LoadEngine = std::unique_ptr<Engine> (*)(const SealedFile& file, const Program& program,
                                               const std::string& device);

// Each in its own file under engines/.
[[nodiscard]] std::unique_ptr<Engine> load_torchscript(const SealedFile& file,
                                                       const Program& program,
                                                       const std::string& device);
[[nodiscard]] std::unique_ptr<Engine> load_inductor(const SealedFile& file, const Program& program,
                                                    const std::string& device);

// The engine for a backend's file, by its suffix; null where this zoo-run has none.
[[nodiscard]] LoadEngine find_engine(const std::string& backend, const std::string& file);

// "inductor .pt2, torchscript .ts, ...": what find_engine knows, for messages.
[[nodiscard]] std::string engine_names();

}  // namespace zoo
