#include "torch/torch_machine.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/version.h>

namespace zoo {

std::string loaded_torch_version() {
  const uint64_t version = aoti_torch_abi_version();
  const auto part = [&](unsigned shift) { return std::to_string((version >> shift) & 0xff); };
  return part(56) + "." + part(48) + "." + part(40);
}

std::string built_torch_version() { return TORCH_VERSION; }

bool torch_has_cuda() { return at::globalContext().hasCUDA(); }

void use_threads(int threads) {
  if (at::get_num_threads() != threads) at::set_num_threads(threads);
}

void configure_torch(const Manifest& manifest, int threads) {
  use_threads(threads);
  // Once in a process, and not where the application has used them: they change no answer.
  static const bool is_first = [] {
    try {
      at::set_num_interop_threads(1);
    } catch (const c10::Error&) {
    }
    return true;
  }();
  static_cast<void>(is_first);
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
