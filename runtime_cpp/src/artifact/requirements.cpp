#include "artifact/requirements.h"

#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace zoo {

namespace {

// "2.13.0+cpu" -> "2.13.0": the local tag says how torch was built, not which it is.
std::string without_local_tag(const std::string& version) {
  return version.substr(0, version.find('+'));
}

void check_torch(const Manifest& manifest, const Host& host) {
  const std::string built = without_local_tag(host.torch_built);
  const std::string loaded = without_local_tag(host.torch_loaded);
  if (built != loaded) {
    fail_machine("zoo-run was built against torch " + built + " and found torch " + loaded +
                 " at run time: build it again, or correct LD_LIBRARY_PATH");
  }
  const auto& wanted = manifest.requirements.torch;
  if (wanted && *wanted != built) {
    fail_artifact("the artifact was built for torch " + *wanted + ", and this zoo-run runs torch " +
                  built + ": compile it again with torch " + built);
  }
}

void check_cpu(const Manifest& manifest, const Host& host) {
  std::string missing;
  for (const std::string& flag : manifest.requirements.isa) {
    if (host.cpu_flags.contains(flag)) continue;
    missing += (missing.empty() ? "" : ", ") + flag;
  }
  if (!missing.empty()) {
    fail_artifact("this CPU lacks " + missing + ", which the artifact (target " + manifest.target +
                  ") needs: compile it here, or for a lower target");
  }
}

// "sm_90" is that architecture alone, "sm_89,sm_120" are these two, "sm_80+" is that one and every
// newer one: docs/artifact.md.
bool runs_on(const std::string& wanted, const std::string& here) {
  if (!wanted.ends_with('+')) return ("," + wanted + ",").find("," + here + ",") != wanted.npos;
  const auto number = [](const std::string& arch) {
    const size_t start = arch.find('_') + 1;
    return start == 0 ? 0 : std::atoi(arch.c_str() + start);
  };
  return number(wanted) > 0 && number(here) >= number(wanted);
}

void check_device(const Manifest& manifest, const Host& host) {
  if (!host.device.empty() && host.device != manifest.device) {
    fail_artifact("--device " + host.device + ": the artifact was built for " + manifest.device +
                  "; compile it for " + host.device);
  }
  if (manifest.device != "cuda") {
    if (!host.wants_cuda_graph) return;
    throw RunnerError(ExitCode::kUsage,
                      "--cuda-graph: the artifact was built for cpu, which has none; leave it out");
  }
  if (!host.gpu.arch) fail_machine("the artifact needs a GPU: " + host.gpu.why_not);
  if (!host.torch_has_cuda) {
    fail_machine("the artifact needs a GPU, and this zoo-run was built against a CPU torch: " +
                 std::string("build it against a CUDA torch"));
  }
  if (host.wants_cuda_graph && !host.has_cuda_graphs) {
    fail_machine("--cuda-graph: this zoo-run was built without CUDA's headers: " +
                 std::string("pip install nvidia-cuda-runtime, then build it again"));
  }
  const auto& wanted = manifest.requirements.gpu_arch;
  if (wanted && !runs_on(*wanted, *host.gpu.arch)) {
    fail_artifact("the artifact was built for " + *wanted + ", this GPU is " + *host.gpu.arch +
                  ": compile it again on this machine");
  }
}

// What to do about a backend that has no engine here.
std::string_view remedy(const std::string& backend) {
  if (backend == "onnx") return "; pip install onnxruntime, then build zoo-run again";
  if (backend == "openvino") return "; pip install openvino, then build zoo-run again";
  for (const char* in_python : {"eager", "torch-compile", "tensorrt-rtx"}) {
    if (backend == in_python) return "; that one runs in Python only";
  }
  return "";
}

}  // namespace

void check_requirements(const Manifest& manifest, const Host& host) {
  check_torch(manifest, host);
  check_cpu(manifest, host);
  check_device(manifest, host);
  if (!host.has_engine) {
    fail_machine("no engine for " + manifest.backend + " (" + manifest.programs.front().file +
                 "): this zoo-run has " + host.engines + std::string(remedy(manifest.backend)));
  }
}

}  // namespace zoo
