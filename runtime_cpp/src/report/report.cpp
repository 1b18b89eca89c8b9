#include "report/report.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iostream>

#include "artifact/tensor_view.h"
#include "base/atomic_file.h"
#include "base/text.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

namespace fs = std::filesystem;

constexpr size_t kRowsShown = 16;

// The path without links, "." and "..", as far as it exists, and without a slash at its end.
fs::path real_path(const fs::path& path) {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) return path;
  return real.has_filename() ? real : real.parent_path();
}

// Two names of one file, or of one that is not there yet.
bool same_file(const std::string& one, const std::string& other) {
  std::error_code error;
  return fs::equivalent(one, other, error) || real_path(one) == real_path(other);
}

bool lies_in(const std::string& path, const std::string& folder) {
  const fs::path outer = real_path(folder);
  const fs::path inner = real_path(fs::path(path).parent_path() / ".");
  return std::ranges::mismatch(outer, inner).in1 == outer.end();
}

// A result may replace neither what is read nor what was proved.
void check_output_path(const std::string& flag, const std::string& path, const Options& options) {
  if (path.empty()) return;
  const auto refuse = [&](const std::string& why) {
    throw RunnerError(ExitCode::kUsage, flag + " " + path + ": " + why + "; name another file");
  };
  if (!options.input.empty() && same_file(path, options.input)) refuse("is the file of --input");
  for (const std::string& artifact : options.artifacts) {
    if (lies_in(path, artifact)) refuse("lies in the artifact's folder, which never changes");
  }
  check_writable(path);
}

}  // namespace

OrderedJson describe(const Subject& subject) {
  OrderedJson json = frame(subject);
  add_footing(json, subject);
  return json;
}

Report report_inference(const Subject& subject, const Inference& inference) {
  const std::vector<InferredRow>& top1 = inference.top1;
  Report report;
  OrderedJson& json = report.document = frame(subject);
  OrderedJson list = OrderedJson::array();
  const auto class_name = [&](int64_t index) {
    return inference.classes.empty() ? "" : inference.classes[static_cast<size_t>(index)];
  };
  for (const InferredRow& row : top1) {
    OrderedJson item{{"top1", row.top1}, {"value", row.value}};
    if (!inference.classes.empty()) item["class"] = class_name(row.top1);
    list.push_back(item);
  }
  json["run"] = {{"rows", inference.rows}, {"top1", list}};
  json["run"]["outputs"] = OrderedJson::array();
  for (const Output& output : inference.outputs) {
    json["run"]["outputs"].push_back({{"name", output.name}, {"shape", output.shape}});
  }
  json["run"]["output"] = inference.output.empty() ? OrderedJson() : OrderedJson(inference.output);
  add_footing(json, subject);

  report.text = heading(subject) + "\n";
  for (const Output& output : inference.outputs) {
    if (inference.outputs.size() == 1) break;
    const std::vector<int64_t> shape = with_rows(inference.rows, output.shape);
    report.text += line(describe("float32", shape) + "  " + output.name);
  }
  if (!top1.empty()) report.text += "row  class       value\n";
  for (size_t i = 0; i < std::min(top1.size(), kRowsShown); ++i) {
    report.text += line(format("%3zu  %5lld  %10.4f  ", i, static_cast<long long>(top1[i].top1),
                               static_cast<double>(top1[i].value)) +
                        class_name(top1[i].top1));
  }
  const auto rows = static_cast<long long>(inference.rows);
  if (top1.size() > kRowsShown || top1.empty()) report.text += format("%lld rows in all\n", rows);
  if (!inference.output.empty()) report.text += "wrote " + printable(inference.output) + "\n";
  return report;
}

void check_output_paths(const Options& options) {
  const std::string json = options.json_to_stdout() ? "" : options.json;
  check_output_path("--output", options.output, options);
  check_output_path("--json", json, options);
  if (!json.empty() && !options.output.empty() && same_file(json, options.output)) {
    throw RunnerError(ExitCode::kUsage,
                      "--json " + json + ": is the file of --output; name another");
  }
}

void write_text(const std::string& text, std::ostream& out) {
  errno = 0;
  out << text << std::flush;
  if (out) return;
  if (errno == EPIPE) throw RunnerError(ExitCode::kPipeClosed, "nobody reads stdout");
  fail_machine("stdout cannot be written to");
}

void write_report(const Report& report, const Options& options, std::ostream& out) {
  if (!options.json.empty() && !options.json_to_stdout()) {
    write_atomically(options.json, dump_json(report.document));
  }
  if (options.json_to_stdout()) {
    write_text(dump_json(report.document), out);
  } else if (!options.quiet) {
    write_text(report.text, out);
  }
}

}  // namespace zoo
