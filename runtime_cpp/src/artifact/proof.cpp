#include "artifact/proof.h"

#include <filesystem>
#include <regex>

#include "artifact/sealed_file.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "machine/machine.h"

namespace zoo {

namespace {

constexpr uint64_t kMaxProofBytes = uint64_t{1} << 16;
constexpr int kMaxDepth = 8;

// These bytes on this kind of machine.
Json identity(const VerifiedArtifact& artifact) {
  return {{"manifest_sha256", artifact.manifest_sha256},
          {"machine", describe_processor(artifact.manifest.device)}};
}

// A damaged file counts as none. It saves time and proves nothing: whoever can write there can
// write one.
bool is_proved_here(const VerifiedArtifact& artifact) {
  const std::filesystem::path path = proof_path(artifact);
  try {
    const FileDescriptor folder = open_folder(path.parent_path().string());
    const SealedFile file =
        seal(open_inside(folder, path.filename().string()), path.string(), kMaxProofBytes);
    const SealedView view(file);
    const auto* start = reinterpret_cast<const char*>(view.bytes().data());
    const Json proof = parse_json({start, view.bytes().size()}, path.string(), kMaxDepth);
    if (!proof.is_object()) return false;
    const Json wanted = identity(artifact);
    for (const auto& [key, value] : wanted.items()) {
      if (proof.value(key, Json()) != value) return false;
    }
    return true;
  } catch (const RunnerError&) {
    return false;
  }
}

}  // namespace

std::string proof_path(const VerifiedArtifact& artifact) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::canonical(artifact.folder, error);
  if (error) fail_machine(artifact.folder + ": " + error.message());
  return (folder.parent_path() / ("proof-" + folder.filename().string() + ".json")).string();
}

std::string built_for(const Manifest& manifest) {
  if (manifest.device == "cpu") return manifest.target == "any" ? "any CPU" : manifest.target;
  const auto& gpus = manifest.requirements.gpu_arch;
  return gpus ? std::regex_replace(*gpus, std::regex(","), ", ") : "any GPU";
}

void require_proved(const VerifiedArtifact& artifact, bool accept_error, bool unproved) {
  const Status status = artifact.manifest.status;
  if (status == Status::kAccepted && !accept_error) {
    fail_artifact(artifact.folder + ": was published although it failed its proof; pass " +
                  "--accept-error to run it");
  }
  if (status == Status::kPending && !unproved && !is_proved_here(artifact)) {
    const std::string& path = artifact.folder;
    fail_artifact(path + " has not been proved on this machine: it was built for " +
                  built_for(artifact.manifest) + "; run zoo check " + path + " or zoo-run " + path +
                  " --check on such a " + (artifact.manifest.device == "cpu" ? "CPU" : "GPU"));
  }
}

void record_proof(const VerifiedArtifact& artifact) {
  OrderedJson proof(identity(artifact));
  proof["date"] = utc_now();
  write_atomically(proof_path(artifact), dump_json(proof));
}

}  // namespace zoo
