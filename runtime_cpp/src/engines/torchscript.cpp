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

  std::vector<at::Tensor> run(const at::Tensor& input) override {
    const c10::IValue output = module_.forward({input});
    if (output.isTensor()) return {output.toTensor()};
    if (!output.isTuple()) fail_kind(output);
    std::vector<at::Tensor> tensors;
    for (const c10::IValue& element : output.toTupleRef().elements()) {
      if (!element.isTensor()) fail_kind(element);
      tensors.push_back(element.toTensor());
    }
    return tensors;
  }

  // Each call has its own interpreter; the module does not change.
  bool is_shared() const override { return true; }

 private:
  [[noreturn]] static void fail_kind(const c10::IValue& value) {
    fail_artifact("the program returned a " + value.tagKind() +
                  ", a tensor or a tuple of tensors is wanted");
  }

  torch::jit::Module module_;
};

}  // namespace

std::unique_ptr<Engine> load_torchscript(const LoadRequest& request) {
  return std::make_unique<TorchScriptEngine>(request);
}

}  // namespace zoo
