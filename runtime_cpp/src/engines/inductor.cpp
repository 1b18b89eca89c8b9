#include <sys/statvfs.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdlib>

#include "base/error.h"
#include "engines/engine.h"

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
                /*run_single_threaded=*/request.cuda_graph, /*num_runners=*/1,
                static_cast<c10::DeviceIndex>(request.manifest.device == "cuda" ? 0 : -1)) {}

  std::vector<at::Tensor> run(const at::Tensor& input) override { return loader_.run({input}); }

 private:
  torch::inductor::AOTIModelPackageLoader loader_;
};

}  // namespace

std::unique_ptr<Engine> load_inductor(const LoadRequest& request) {
  require_executable_folder();
  return std::make_unique<InductorEngine>(request);
}

}  // namespace zoo
