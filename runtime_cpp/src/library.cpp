// The library zoo_runtime: the public header's few types around the code that zoo-run runs.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <zoo_runtime/artifact.h>

#include <mutex>

#include "artifact/programs.h"
#include "base/error.h"
#include "loaded.h"
#include "machine/machine.h"
#include "torch/tensors.h"
#include "torch/torch_machine.h"

namespace zoo {

namespace {

// As main() of zoo-run does it, and with the same lines.
template <typename Work>
auto with_public_errors(Work&& work) {
  try {
    return work();
  } catch (const RunnerError& error) {
    const bool lacks = error.code() == ExitCode::kMachineLacks;
    throw Error(lacks ? Error::Kind::kMachineLacks : Error::Kind::kBadArtifact, error.what());
  } catch (const std::bad_alloc&) {
    throw Error(Error::Kind::kMachineLacks, "out of memory");
  } catch (const std::exception& error) {
    throw Error(Error::Kind::kBadArtifact, printable(error.what()));
  }
}

zoo::Options runner_options(const std::filesystem::path& folder, const Artifact::Options& given) {
  if (given.threads.value_or(1) < 1) {
    fail_artifact("threads: " + std::to_string(*given.threads) + " was given; give 1 or more");
  }
  zoo::Options options;
  options.artifacts = {folder.string()};
  options.threads = given.threads;
  options.accept_error = given.accept_error;
  options.allow_nonfinite = given.allow_nonfinite;
  options.library_path = given.library_path;
  return options;
}

// Settings and libraries belong to the whole process, so one artifact is loaded at a time.
std::mutex g_loading;
// Whether a GPU may round products, as the artifacts here were proved; none: none is for a GPU.
std::optional<bool> g_tf32;

void require_same_tf32(const Manifest& manifest) {
  const bool tf32 = manifest.parity.tf32;
  if (manifest.device != "cuda" || g_tf32.value_or(tf32) == tf32) return;
  fail_machine(
      "the artifact was proved " + std::string(tf32 ? "with" : "without") +
      " TF32, and this process has loaded one that was proved otherwise: use another process");
}

// The images as a tensor of (batch, ...) over the caller's memory.
at::Tensor view_images(const void* images, size_t count, at::ScalarType type, int64_t batch,
                       const Artifact::Input& input) {
  if (batch < 1 || count / input.size != static_cast<size_t>(batch) || count % input.size != 0) {
    fail_artifact("images: " + std::to_string(count) + " values were given for a batch of " +
                  std::to_string(batch) + "; one image has " + std::to_string(input.size));
  }
  return at::from_blob(const_cast<void*>(images), with_rows(batch, input.shape), type);
}

}  // namespace

Error::Error(Kind kind, const std::string& line) : std::runtime_error(line), kind_(kind) {}
Error::~Error() = default;

struct Artifact::Loaded {
  Loaded(const std::filesystem::path& folder, const Artifact::Options& given)
      : options(runner_options(folder, given)),
        artifact(open_artifact(options.artifacts.front())),
        manifest(artifact.manifest),
        threads(static_cast<int>(options.threads.value_or(usable_cores()))) {
    const auto size = [](const std::vector<int64_t>& shape) {
      return static_cast<size_t>(num_values(shape));
    };
    input = {manifest.input.name, manifest.input.bytes, manifest.input.shape,
             size(manifest.input.shape)};
    for (const auto& [name, shape, classes] : manifest.outputs) {
      outputs.push_back({name, shape, size(shape), classes});
    }
    const std::lock_guard lock(g_loading);
    require_same_tf32(manifest);
    prepare(artifact, options, threads);
    const c10::InferenceMode no_gradients;
    for (const Program& program : manifest.programs) {
      programs.push_back(std::make_unique<LoadedProgram>(artifact, program, threads, false));
    }
    if (manifest.device == "cuda") g_tf32 = manifest.parity.tf32;
  }

  Outputs run(const at::Tensor& images) {
    validate_input(images, manifest, "images", options.allow_nonfinite);
    const auto chunks = plan_chunks(manifest.programs, images.size(0), std::nullopt);
    const std::lock_guard lock(calling);
    use_threads(threads);
    Outputs values;
    const auto get = [&](size_t index) -> LoadedProgram& { return *programs[index]; };
    for (const at::Tensor& output : answer(manifest, chunks, images, get)) {
      const auto* start = output.const_data_ptr<float>();
      values.emplace_back(start, start + output.numel());
    }
    return values;
  }

  // The order matters: each part is used by those after it.
  zoo::Options options;
  VerifiedArtifact artifact;
  const Manifest& manifest;
  int threads;
  Input input;
  std::vector<Output> outputs;
  std::vector<std::unique_ptr<LoadedProgram>> programs;
  std::mutex calling;  // engines answer one call at a time
};

Artifact::Artifact(std::unique_ptr<Loaded> loaded) : loaded_(std::move(loaded)) {}
Artifact::~Artifact() = default;
Artifact::Artifact(Artifact&& other) noexcept = default;
Artifact& Artifact::operator=(Artifact&& other) noexcept = default;

Artifact Artifact::load(const std::filesystem::path& folder) { return load(folder, {}); }

Artifact Artifact::load(const std::filesystem::path& folder, const Options& options) {
  return with_public_errors([&] { return Artifact(std::make_unique<Loaded>(folder, options)); });
}

const Artifact::Input& Artifact::input() const noexcept { return loaded_->input; }
const std::vector<Artifact::Output>& Artifact::outputs() const noexcept { return loaded_->outputs; }

Artifact::Outputs Artifact::run(std::span<const float> images, std::int64_t batch) const {
  return with_public_errors([&] {
    const c10::InferenceMode no_gradients;
    return loaded_->run(
        view_images(images.data(), images.size(), at::kFloat, batch, loaded_->input));
  });
}

Artifact::Outputs Artifact::run(std::span<const std::uint8_t> images, std::int64_t batch) const {
  return with_public_errors([&] {
    const c10::InferenceMode no_gradients;
    return loaded_->run(
        view_images(images.data(), images.size(), at::kByte, batch, loaded_->input));
  });
}

}  // namespace zoo
