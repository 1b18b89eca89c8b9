#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

// Runs artifacts of zoo inside another program:
//
//   const auto artifact = zoo::Artifact::load("artifacts/resnet18");
//   const std::vector<float> scores = artifact.run(image).front();
//
// CMake: find_package(zoo_runtime REQUIRED), then link zoo_runtime::zoo_runtime. The library checks
// all that zoo-run checks, by the same code. It prints nothing and never ends the process.

namespace zoo {

// What every call below throws, and nothing else: one line that says what was given, what is
// allowed and what to do. Where it names an option of zoo-run, Options has a field of that name.
class [[gnu::visibility("default")]] Error : public std::runtime_error {
 public:
  // The values are zoo-run's exit codes.
  enum class Kind {
    kBadArtifact = 3,   // the artifact or the input is bad, or was built for something else
    kMachineLacks = 4,  // this machine lacks something: a GPU, a library, an engine, memory
  };

  Error(Kind kind, const std::string& line);
  ~Error() override;

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] int exit_code() const noexcept { return static_cast<int>(kind_); }

 private:
  Kind kind_;
};

// A verified artifact whose programs are loaded.
//
// Threads: several threads may share one artifact. Its calls then take turns; load it twice to run
// two calls at once, which costs the memory twice. Several artifacts may be loaded and run at once.
// A call sets the number of OpenMP threads of the thread that makes it, and leaves it set.
class [[gnu::visibility("default")]] Artifact {
 public:
  struct Options {
    std::optional<int> threads;    // of each call, at least 1; none: the cores this process may use
    bool accept_error = false;     // load what was published although it failed its proof
    bool allow_nonfinite = false;  // run inputs with NaN or Inf
    std::vector<std::string> library_path = {};  // folders of libraries that the artifact needs
  };

  struct Input {
    std::string name;
    bool bytes = false;               // uint8 as a camera gives it; else float32, normalised
    std::vector<std::int64_t> shape;  // of one image: H, W, C of bytes, else C, H, W
    std::size_t size = 0;             // how many values that are
  };

  struct Output {
    std::string name;
    std::vector<std::int64_t> shape;   // for one image: {classes} of a classifier, {} of a number
    std::size_t size = 0;              // how many values that are
    std::vector<std::string> classes;  // their names; empty where they are not known
  };

  // The values of each output, in the order of outputs(): row-major, those of the first image
  // first.
  using Outputs = std::vector<std::vector<float>>;

  // Opens the folder, compares every hash, and checks what this machine must have and whether the
  // proof passed, before it loads every program.
  [[nodiscard]] static Artifact load(const std::filesystem::path& folder);
  [[nodiscard]] static Artifact load(const std::filesystem::path& folder, const Options& options);

  ~Artifact();
  Artifact(Artifact&& other) noexcept;
  Artifact& operator=(Artifact&& other) noexcept;

  [[nodiscard]] const Input& input() const noexcept;
  [[nodiscard]] const std::vector<Output>& outputs() const noexcept;

  // Runs `batch` images of input().size values each, which lie one after the other: bytes where
  // input().bytes says so, else floats. They are cut into calls as zoo-run --input cuts them.
  [[nodiscard]] Outputs run(std::span<const float> images, std::int64_t batch = 1) const;
  [[nodiscard]] Outputs run(std::span<const std::uint8_t> images, std::int64_t batch = 1) const;

 private:
  struct Loaded;
  explicit Artifact(std::unique_ptr<Loaded> loaded);

  std::unique_ptr<Loaded> loaded_;
};

}  // namespace zoo
