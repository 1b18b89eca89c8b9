#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "engine.h"
#include "error.h"

namespace zoo {

namespace {

class TorchScriptEngine final : public Engine {
 public:
  TorchScriptEngine(const SealedFile& file, const std::string& device)
      : module_(torch::jit::load(file.path(), c10::Device(device))) {
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

std::unique_ptr<Engine> load_torchscript(const SealedFile& file, const Program&,
                                         const std::string& device) {
  return std::make_unique<TorchScriptEngine>(file, device);
}

}  // namespace zoo
