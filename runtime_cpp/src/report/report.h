#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "artifact/manifest.h"
#include "base/error.h"
#include "base/json.h"
#include "machine/conditions.h"
#include "measure/comparison.h"
#include "measure/measure.h"
#include "measure/parity.h"
#include "options.h"

namespace zoo {

// What a run leaves: a page for people, a document for programs, and the exit code.
struct Report {
  std::string text;  // at most 80 columns
  OrderedJson document;
  ExitCode exit_code = ExitCode::kDone;
  std::string warning = {};  // for stderr; empty: none
};

// What was run, the same for every kind of report.
struct Subject {
  std::string artifact;
  Status status = Status::kProved;
  std::string model;
  std::string backend;
  std::string precision;
  std::string device;
  bool cuda_graph = false;
  int64_t batch = 0;
  double open_ms = 0;  // verifying and copying the files
  double load_ms = 0;  // from the verified copy to a program that can be called
  uint64_t file_bytes = 0;
  Conditions conditions;
};

// Whether the last timed call gave what the first call gave for the same input.
struct Stability {
  bool identical = false;
  std::optional<double> max_abs_difference;  // none: not finite
};

struct ProgramCheck {
  std::string program;  // file, or file:entry
  int64_t batch = 0;
  std::vector<OutputResult> outputs;  // at least one, in the manifest's order
  [[nodiscard]] bool passed() const;
};

// The subject alone, as the documents of all reports have it.
[[nodiscard]] OrderedJson describe(const Subject& subject);

struct InferredRow {
  int64_t top1 = 0;
  float value = 0;
};

[[nodiscard]] Report report_measurement(const Subject& subject, const Measurement& measurement,
                                        const Stability& stability,
                                        std::span<const Percentile> percentiles, bool strict);

// Fails as well where the artifact was published although it failed its proof.
[[nodiscard]] Report report_check(const Subject& subject, const Parity& parity,
                                  const std::vector<ProgramCheck>& checks);

struct RankedClass {
  int64_t index = 0;
  double probability = 0;
};
// What --image gave for one picture, where an output is of classes: the best first.
struct Prediction {
  std::string image;
  std::vector<RankedClass> best = {};
};

// What --input gave: the most likely class of each row, where an output is of classes.
struct Inference {
  int64_t rows = 0;
  std::vector<Output> outputs = {};
  std::vector<InferredRow> top1 = {};     // empty where no output is of classes
  std::vector<std::string> classes = {};  // names; empty where the model has none
  std::string output = {};                // the file that was written; empty: none
  std::vector<Prediction> images = {};    // of --image, one for each row; empty with --input
  std::string saved_input = {};           // the file of --save-input; empty: none
};
[[nodiscard]] Report report_inference(const Subject& subject, const Inference& inference);

// One of the programs that were compared.
struct Compared {
  OrderedJson subject;                  // what its process said of itself in the last round
  std::vector<int64_t> rounds_ns = {};  // the median of each round
  int64_t calls = 0;                    // that were timed
  bool stable = true;                   // no call of a round gave something else than its first
  std::string flaw = {};
};
struct Comparison {
  uint64_t seed = 0;
  double seconds = 0;  // for each program, in all
  std::vector<Compared> programs;
};
// The first one is what the others are compared with.
[[nodiscard]] Report report_comparison(const Comparison& comparison);

// To be called first. Fails with 2 where a file to write is one to read, or lies in the artifact;
// with 4 where it could not be written.
void check_output_paths(const Options& options);

// Fails with 4 where that cannot be done, with 141 where nobody reads it.
void write_text(const std::string& text, std::ostream& out);

// Writes the report where the options want it. Fails with 4 where that cannot be done.
void write_report(const Report& report, const Options& options, std::ostream& out);

}  // namespace zoo
