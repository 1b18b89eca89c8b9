#include "engines/offer.h"

#include "base/version.h"
#include "engines/cuda_graph.h"
#include "engines/engine.h"
#include "image/decode.h"
#include "machine/cpu_flags.h"
#include "measure/measure.h"
#include "torch/torch_machine.h"

namespace zoo {

namespace {

// [{"backend": "tensorrt", "files": [".pt2", ".ts"]}, ...]
OrderedJson engines_json() {
  OrderedJson list = OrderedJson::array();
  for (const EngineKind& kind : engine_kinds()) {
    if (list.empty() || list.back()["backend"] != kind.backend) {
      list.push_back({{"backend", kind.backend}, {"files", OrderedJson::array()}});
    }
    list.back()["files"].push_back(kind.suffix);
  }
  return list;
}

}  // namespace

std::string version_line() {
  return std::string("zoo-run ") + kVersion + " (commit " + kCommit + ", torch " +
         loaded_torch_version() + ")\nengines: " + engine_names();
}

OrderedJson capabilities() {
  const Allocator served_by = allocator();
  return {
      {"version", kVersion},
      {"commit", kCommit},
      {"build_type", kBuildType},
      {"torch", built_torch_version()},
      {"schema", kSchemaMajor},
      {"engines", engines_json()},
      {"inputs", kDataSuffixes},
      {"outputs", kDataSuffixes},
      {"images", picture_formats()},
      {"defaults",
       {{"warmup_calls", kDefaultWarmupCalls},
        {"warmup_s", kDefaultWarmupS},
        {"iterations", kDefaultIterations},
        {"duration_s", kDefaultDurationS}}},
      {"allocator", {{"library", served_by.library}, {"tcmalloc", served_by.tcmalloc}}},
      {"cuda", {{"torch", torch_has_cuda()}, {"graphs", has_cuda_graphs()}}},
  };
}

Host observe_host(const Manifest& manifest, const Options& options) {
  Host host;
  host.torch_built = built_torch_version();
  host.torch_loaded = loaded_torch_version();
  host.cpu_flags = cpu_flags();
  host.device = options.device;
  if (manifest.device == "cuda") {
    host.torch_has_cuda = torch_has_cuda();
    host.gpu = probe_gpu();
  }
  host.wants_cuda_graph = options.cuda_graph;
  host.has_cuda_graphs = has_cuda_graphs();
  host.engines = engine_names();
  host.has_engine = true;
  for (const Program& program : manifest.programs) {
    if (find_engine(manifest.backend, program.file) == nullptr) host.has_engine = false;
  }
  return host;
}

}  // namespace zoo
