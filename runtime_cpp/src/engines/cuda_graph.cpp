// Compiled only where the torch wheel has CUDA and its headers are found.
#include "engines/cuda_graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <vector>

#include "torch/torch_errors.h"
#include "torch/torch_machine.h"

namespace zoo {

namespace {

// The TorchScript interpreter settles on its code in two calls, cuDNN chooses kernels in the first.
constexpr int kWarmupCalls = 3;
constexpr const char* kDevice = "cuda";

struct Captured {
  at::Tensor input;
  std::vector<at::Tensor> outputs;
  at::cuda::CUDAGraph graph;
};

class CudaGraphEngine final : public Engine {
 public:
  explicit CudaGraphEngine(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  std::vector<at::Tensor> run(const at::Tensor& input) override {
    std::unique_ptr<Captured>& captured = captured_[input.size(0)];
    if (!captured) {
      captured = with_torch_errors("--cuda-graph: the program cannot be captured",
                                   [&] { return capture(input); });
    }
    if (!captured->input.is_same(input)) captured->input.copy_(input);
    captured->graph.replay();
    return captured->outputs;
  }

  std::string runtime() const override { return engine_->runtime(); }

 private:
  // On a stream of its own, as CUDA wants it; nothing else may be under way meanwhile.
  std::unique_ptr<Captured> capture(const at::Tensor& input) {
    auto captured = std::make_unique<Captured>();
    captured->input = input;
    synchronize(kDevice);
    {
      // The guard for any device, not CUDA's own: that one is inline code that calls libcudart.
      const c10::StreamGuard guard(c10::cuda::getStreamFromPool().unwrap());
      for (int i = 0; i < kWarmupCalls; ++i) (void)engine_->run(input);
      synchronize(kDevice);
      captured->graph.capture_begin();
      captured->outputs = engine_->run(input);
      captured->graph.capture_end();
    }
    synchronize(kDevice);
    return captured;
  }

  std::unique_ptr<Engine> engine_;
  std::map<int64_t, std::unique_ptr<Captured>> captured_;  // by batch
};

}  // namespace

bool has_cuda_graphs() { return true; }

std::unique_ptr<Engine> capture_calls(std::unique_ptr<Engine> engine) {
  return std::make_unique<CudaGraphEngine>(std::move(engine));
}

}  // namespace zoo
