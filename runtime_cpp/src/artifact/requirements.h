#pragma once

#include <optional>
#include <set>
#include <string>

#include "artifact/manifest.h"
#include "machine/machine.h"

namespace zoo {

// What this zoo-run and this machine bring, as far as an artifact can ask for it.
struct Host {
  std::string torch_built;   // of the headers
  std::string torch_loaded;  // of the library in this process
  bool torch_has_cuda = false;
  std::set<std::string> cpu_flags;
  Gpu gpu;                        // looked at for a cuda artifact only
  std::string device;             // as asked for; empty: the artifact's own
  bool wants_cuda_graph = false;  // --cuda-graph
  bool has_cuda_graphs = false;   // built in
  std::string engines;            // the names of those built in, for messages
  bool has_engine = false;        // for the programs of this artifact
};

// Step 7 of docs/artifact.md, libraries excepted. Fails with 3 where the artifact was built for
// something else, with 4 where this machine lacks something, with 2 where an option does not go
// with this artifact.
void check_requirements(const Manifest& manifest, const Host& host);

}  // namespace zoo
