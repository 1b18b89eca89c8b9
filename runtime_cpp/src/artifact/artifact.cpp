#include "artifact/artifact.h"

#include <algorithm>
#include <limits>

#include "artifact/golden.h"
#include "artifact/safetensors.h"
#include "artifact/sha256.h"
#include "artifact/zip_scan.h"
#include "base/clocks.h"
#include "base/error.h"
#include "base/text.h"
#include "machine/machine.h"

namespace zoo {

namespace {

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void read_manifest(const FileDescriptor& folder, VerifiedArtifact& artifact) {
  const SealedFile hash_file = seal(open_inside(folder, "manifest.sha256"), "manifest.sha256", 65);
  const SealedView hash_view(hash_file);
  const std::string_view hash = as_text(hash_view.bytes());
  if (hash.size() != 65 || hash.back() != '\n' || !is_sha256_hex(std::string(hash.substr(0, 64)))) {
    fail_artifact("manifest.sha256: must be 64 lowercase hex digits and a newline");
  }
  const SealedFile file =
      seal(open_inside(folder, "manifest.json"), "manifest.json", kMaxManifestBytes);
  if (file.sha256() != hash.substr(0, 64)) {
    fail_artifact("manifest.json: its sha256 is not the one in manifest.sha256; " +
                  std::string("the artifact is damaged or was edited: build it again"));
  }
  const SealedView view(file);
  artifact.manifest = parse_manifest(as_text(view.bytes()), artifact.folder);
  artifact.manifest_sha256 = file.sha256();
}

// All files are opened and their sizes compared before the first is copied: a missing file is
// found at once, and nothing is copied that could not all be held.
std::map<std::string, FileDescriptor> open_files(const FileDescriptor& folder,
                                                 const Manifest& manifest) {
  std::map<std::string, FileDescriptor> opened;
  uint64_t total_bytes = 0;
  for (const auto& [name, entry] : manifest.files) {
    FileDescriptor file = open_inside(folder, name);
    const uint64_t size = file_size(file, name);
    if (size != entry.size) {
      fail_artifact(name + ": has " + std::to_string(size) + " bytes, manifest.json says " +
                    std::to_string(entry.size) + "; the artifact is damaged, rebuild it");
    }
    total_bytes += std::min(size, std::numeric_limits<uint64_t>::max() - total_bytes);
    opened.emplace(name, std::move(file));
  }
  const uint64_t available = available_memory_bytes();
  if (total_bytes > available) {
    fail_machine("the artifact's files need " + std::to_string(total_bytes >> 20) +
                 " MiB of memory, this machine has " + std::to_string(available >> 20) + " free");
  }
  return opened;
}

}  // namespace

VerifiedArtifact open_artifact(const std::string& path) {
  const int64_t start = real_clocks().steady_ns();
  const FileDescriptor folder = open_folder(path);
  VerifiedArtifact artifact;
  artifact.folder = path;
  read_manifest(folder, artifact);
  for (const auto& [name, opened] : open_files(folder, artifact.manifest)) {
    const FileEntry& entry = artifact.manifest.files.at(name);
    SealedFile copy = seal(opened, name, entry.size);
    if (copy.size() != entry.size || copy.sha256() != entry.sha256) {
      fail_artifact(name + ": its sha256 is not the one in manifest.json; " +
                    std::string("the artifact is damaged or was edited: build it again"));
    }
    artifact.files.emplace(name, std::move(copy));
  }
  for (const auto& [name, copy] : artifact.files) look_inside(copy, name, artifact.manifest);
  artifact.open_ms = to_ms(real_clocks().steady_ns() - start);
  return artifact;
}

void look_inside(const SealedFile& file, const std::string& name, const Manifest& manifest) {
  const SealedView view(file);
  if (name == kGoldenFile) {
    (void)find_golden(view.bytes(), manifest);
  } else if (name.ends_with(".safetensors")) {
    (void)parse_safetensors(view.bytes(), name);
  } else if (name.ends_with(".ts") || name.ends_with(".pt2")) {
    (void)scan_zip(view.bytes(), name, {.deflated_code = name.ends_with(".ts")});
  }
}

}  // namespace zoo
