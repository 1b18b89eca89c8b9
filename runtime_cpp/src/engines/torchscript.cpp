#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "base/error.h"
#include "engines/engine.h"

namespace zoo {

namespace {

class TorchScriptEngine final : public Engine {
 public:
  explicit TorchScriptEngine(const LoadRequest& request)
      : module_(torch::jit::load(request.file.path(), c10::Device(request.manifest.device))) {
    module_.eval();
  }

  at::Tensor run(const at::Tensor& input) override {
    c10::IValue output = module_.forward({input});
    if (!output.isTensor()) {
      fail_artifact("the program returned a " + output.tagKind() + ", one tensor is wanted");
    }
    return std::move(output).toTensor();
  }

 private:
  torch::jit::Module module_;
};

}  // namespace

std::unique_ptr<Engine> load_torchscript(const LoadRequest& request) {
  return std::make_unique<TorchScriptEngine>(request);
}

}  // namespace zoo
