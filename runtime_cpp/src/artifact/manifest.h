#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/rules.h"

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

// What the proof said when the artifact was built.
enum class Status {
  kProved,
  kPending,   // not run yet: it was built for another machine
  kAccepted,  // it failed, and was published all the same
};

// What one output is held to in one row: k * e_eager + floor.
struct Bound {
  double e_eager = 0;
  double floor = 0;
};

// The proof of one output.
struct OutputProof {
  std::optional<int64_t> positions;  // how many values of a row golden keeps; none: all of them
  std::vector<Bound> bounds;         // one for each row
  int64_t groups = 0;                // of channels, each held to its own bounds; 0: no parts
  bool has_classes = true;           // one value is the most likely; else top-1 says nothing
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
  std::vector<std::string> kinds;    // of the golden rows: "real", "zeros", ...
  std::vector<OutputProof> outputs;  // as the manifest's outputs
  std::vector<Gate> gates;
};

struct Requirements {
  std::optional<std::string> torch;
  std::vector<std::string> isa;
  std::optional<std::string> gpu_arch;
  std::vector<std::string> load_first;
};

struct Input {
  std::string name;
  bool bytes = false;          // uint8 NHWC, as a camera gives it; else float32 NCHW
  std::vector<int64_t> shape;  // of one sample: [C, H, W], or [H, W, C] for bytes
};

struct Output {
  std::string name;
  std::vector<int64_t> shape;        // of one sample: [classes] for a classifier, [] for a number
  std::vector<std::string> classes;  // names, empty where they are not known
};

// How the pixels of a picture become the input.
struct Preprocessing {
  int64_t channels = 0;  // 1 is grey, 3 is RGB; other numbers are not of pictures
  int64_t height = 0;
  int64_t width = 0;
  std::vector<double> mean = {};  // one for each channel, of pixels that were scaled to 0..1
  std::vector<double> std = {};
  // Of the shorter side, before the centre is cropped; none: the picture just covers the crop.
  std::optional<int64_t> resize = {};
  bool bicubic = false;  // else bilinear
};

// What zoo-run uses of manifest.json; docs/artifact.md describes all of it.
struct Manifest {
  Status status = Status::kProved;
  std::string model;
  std::string backend;
  std::string precision;
  std::string device;
  std::string target;
  Input input;
  std::vector<Output> outputs;  // in the order in which a program returns them
  std::vector<Program> programs;
  Requirements requirements;
  std::map<std::string, FileEntry> files;
  Parity parity;
  std::optional<Preprocessing> preprocessing;  // none: it is not known
};

inline constexpr uint64_t kMaxManifestBytes = uint64_t{1} << 20;
// Every golden.safetensors begins with these rows, real and normal ones. Hostile ones may follow.
inline constexpr int64_t kOrdinaryRows = 16;

// Parses and validates; each refusal names the field. `folder` is the artifact's, for messages.
[[nodiscard]] Manifest parse_manifest(std::string_view text, const std::string& folder);

// "proved", "pending", "accepted"
[[nodiscard]] const char* status_name(Status status);

// How many values a tensor of this shape has.
[[nodiscard]] int64_t num_values(const std::vector<int64_t>& shape);

// `shape` with the rows before it.
[[nodiscard]] std::vector<int64_t> with_rows(int64_t rows, const std::vector<int64_t>& shape);

}  // namespace zoo
