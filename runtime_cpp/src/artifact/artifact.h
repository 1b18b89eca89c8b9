#pragma once

#include <map>
#include <string>

#include "artifact/manifest.h"
#include "artifact/sealed_file.h"

namespace zoo {

// An artifact whose every file was verified and copied; from here on the folder is not read again.
struct VerifiedArtifact {
  std::string folder;
  Manifest manifest;
  std::string manifest_sha256;  // of manifest.json, in hex
  std::map<std::string, SealedFile> files;
  double open_ms = 0;  // what verifying and copying took

  [[nodiscard]] const SealedFile& file(const std::string& name) const { return files.at(name); }
};

// Steps 1 to 5 of docs/artifact.md, in that order. Fails with exit code 3 (4 where the system
// refuses to read what is there).
[[nodiscard]] VerifiedArtifact open_artifact(const std::string& folder);

// Step 5 for one file, chosen by the name's suffix: .pt2, .ts and .safetensors are looked into.
void look_inside(const SealedFile& file, const std::string& name, const Manifest& manifest);

}  // namespace zoo
