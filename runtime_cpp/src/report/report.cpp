#include "report/report.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <iostream>
#include <utility>

#include "base/atomic_file.h"
#include "base/text.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

namespace fs = std::filesystem;

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
  for (const std::string& image : options.images) {
    if (same_file(path, image)) refuse("is a file of --image");
  }
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

void check_output_paths(const Options& options) {
  const std::string json = options.json_to_stdout() ? "" : options.json;
  const std::array files = {std::pair("--output", &options.output), std::pair("--json", &json),
                            std::pair("--save-input", &options.save_input)};
  for (const auto& [flag, path] : files) check_output_path(flag, *path, options);
  for (size_t i = 0; i < files.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const auto& [flag, path] = files.at(i);
      const auto& [other, taken] = files.at(j);
      if (path->empty() || taken->empty() || !same_file(*path, *taken)) continue;
      throw RunnerError(ExitCode::kUsage, std::string(flag) + " " + *path + ": is the file of " +
                                              other + "; name another");
    }
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
