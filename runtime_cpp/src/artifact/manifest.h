#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zoo {

struct FileEntry {
  uint64_t size = 0;
  std::string sha256;
};

struct Program {
  std::string file;
  int64_t min_batch = 1;
  int64_t max_batch = 1;
  std::optional<std::string> entry;
};

struct GoldenSample {
  std::string kind;
  double e_eager = 0;
  double floor = 0;
  std::optional<double> rmse;  // as measured when it was built
};

struct Gate {
  std::string name;
  std::optional<double> value;
  std::optional<double> bound;
  bool passed = false;
};

struct Parity {
  bool tf32 = false;  // whether a GPU may round float32 products to 10 bits
  double k = 0;
  std::vector<GoldenSample> samples;
  std::vector<Gate> gates;
};

struct Requirements {
  std::optional<std::string> torch;
  std::vector<std::string> isa;
  std::optional<std::string> gpu_arch;
  std::vector<std::string> load_first;
};

// What zoo-run uses of manifest.json; docs/artifact.md describes all of it.
struct Manifest {
  std::string model;
  std::string weights_sha256;
  std::vector<std::string> classes;  // names, empty where the model has none
  std::string backend;
  std::string precision;
  std::string device;
  std::string target;
  bool byte_input = false;            // uint8 NHWC, as a camera gives it; else float32 NCHW
  std::vector<int64_t> sample_shape;  // of one input: [C, H, W], or [H, W, C] for bytes
  int64_t num_classes = 0;
  std::vector<Program> programs;
  Requirements requirements;
  std::map<std::string, FileEntry> files;
  Parity parity;
};

inline constexpr unsigned kSchemaMajor = 1;  // of the manifests that are read
inline constexpr uint64_t kMaxManifestBytes = uint64_t{1} << 20;
inline constexpr const char* kGoldenFile = "golden.pt";
// Every golden.pt begins with these rows, real and normal ones. Hostile ones may follow.
inline constexpr int64_t kOrdinaryRows = 16;
inline constexpr int64_t kMaxGoldenRows = 64;

// Parses and validates; each refusal names the field.
[[nodiscard]] Manifest parse_manifest(std::string_view text);

}  // namespace zoo
