#include "torch_machine.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/version.h>

#include "cpu_flags.h"
#include "cuda_graph.h"
#include "engine.h"
#include "paths.h"
#include "torch_errors.h"
#include "version.h"

namespace zoo {

namespace {

// The version of the library in this process, which need not be that of the headers.
std::string loaded_torch_version() {
  const uint64_t version = aoti_torch_abi_version();
  const auto part = [&](unsigned shift) { return std::to_string((version >> shift) & 0xff); };
  return part(56) + "." + part(48) + "." + part(40);
}

// The line that names the cause: the first, but the last of an error inside a TorchScript program.
std::string telling_line(const std::string& what) {
  const size_t first = what.find_first_not_of(" \n");
  if (first == std::string::npos) return "torch does not say why";
  if (!what.starts_with("The following operation failed")) {
    return what.substr(first, what.find('\n', first) - first);
  }
  const size_t end = what.find_last_not_of(" \n") + 1;
  const size_t before = what.rfind('\n', end - 1);
  const size_t start = before == std::string::npos ? 0 : before + 1;
  return what.substr(start, end - start);
}

}  // namespace

void fail_from_torch(const std::string& doing, const std::string& what) {
  const std::string message = doing + ": " + printable(telling_line(what));
  if (what.find("can't allocate memory") != std::string::npos) fail_machine(message);
  fail_artifact(message);
}

std::string version_line() {
  return std::string("zoo-run ") + kVersion + " (commit " + kCommit + ", torch " +
         loaded_torch_version() + ")\nengines: " + engine_names();
}

Offer observe_offer(const Manifest& manifest, const Options& options) {
  Offer offer;
  offer.torch_built = TORCH_VERSION;
  offer.torch_loaded = loaded_torch_version();
  offer.cpu_flags = cpu_flags();
  offer.device = options.device;
  if (manifest.device == "cuda") {
    offer.torch_has_cuda = at::globalContext().hasCUDA();
    offer.gpu = probe_gpu();
  }
  offer.wants_cuda_graph = options.cuda_graph;
  offer.has_cuda_graphs = has_cuda_graphs();
  offer.engines = engine_names();
  offer.has_engine = true;
  for (const Program& program : manifest.programs) {
    if (find_engine(manifest.backend, program.file) == nullptr) offer.has_engine = false;
  }
  return offer;
}

void configure_torch(const Manifest& manifest, int threads) {
  at::set_num_threads(threads);
  at::set_num_interop_threads(1);
  if (manifest.device == "cuda") {
    at::globalContext().setAllowTF32CuDNN(manifest.parity.tf32);
    at::globalContext().setAllowTF32CuBLAS(manifest.parity.tf32);
  }
}

Conditions observe_torch_conditions(const Manifest& manifest, int threads) {
  Conditions conditions = observe_conditions(threads);
  conditions.torch = TORCH_VERSION;
  conditions.cpu_capability = at::get_cpu_capability();
  if (manifest.device == "cuda") conditions.gpu_arch = probe_gpu().arch.value_or("");
  return conditions;
}

void synchronize(const std::string& device) {
  if (device == "cuda") at::detail::getCUDAHooks().deviceSynchronize(0);
}

}  // namespace zoo
