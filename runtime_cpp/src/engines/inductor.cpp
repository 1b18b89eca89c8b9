#include <sys/statvfs.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "engines/engine.h"
#include "engines/packs.h"
#include "measure/reorders.h"
#include "torch/onednn_log.h"

namespace zoo {

namespace {

// The loader unpacks a shared library into TMPDIR and opens it there.
void require_executable_folder() {
  const char* folder = std::getenv("TMPDIR");
  struct statvfs status{};
  if (folder == nullptr || ::statvfs(folder, &status) != 0) return;
  if ((status.f_flag & ST_NOEXEC) != 0) {
    fail_machine(std::string(folder) + ": programs cannot run from this folder (mounted noexec): " +
                 "set TMPDIR to another one");
  }
}

// Its lock between threads asks the GPU how far it is, which must not be done in a capture.
class InductorEngine final : public Engine {
 public:
  explicit InductorEngine(const LoadRequest& request)
      : loader_(request.file.path(), request.program.entry.value_or("model"),
                /*run_single_threaded=*/request.cuda_graph,
                /*num_runners=*/static_cast<size_t>(request.callers),
                static_cast<c10::DeviceIndex>(request.manifest.device == "cuda" ? 0 : -1)),
        threads_(request.threads) {
    if (request.manifest.device == "cpu") packs_.emplace(loader_);
  }

  std::vector<at::Tensor> run(const at::Tensor& input) override {
    if (packs_) packs_->fit(input.size(0));
    return loader_.run({input});
  }

  // Programs of older builds are packed for the machine and the threads of the build.
  std::string find_flaw(const at::Tensor& input) override {
    if (!packs_) return "";
    const std::string log = onednn_log([&] { static_cast<void>(run(input)); });
    const int64_t count = count_weight_reorders(log, packs_->shapes());
    if (count == 0) return "";
    return "repacks " + std::to_string(count) + (count == 1 ? " weight" : " weights") +
           " on every call: " + packs_->why_not(threads_);
  }

  // The loader has a runner for each caller; they have the constants in common.
  bool is_shared() const override { return true; }

 private:
  torch::inductor::AOTIModelPackageLoader loader_;
  int threads_;
  std::optional<Packs> packs_;  // none on a GPU
};

}  // namespace

std::unique_ptr<Engine> load_inductor(const LoadRequest& request) {
  require_executable_folder();
  return std::make_unique<InductorEngine>(request);
}

}  // namespace zoo
