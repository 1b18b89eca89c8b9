#include "report/report_parts.h"

#include <cmath>

#include "base/text.h"

namespace zoo {

namespace {
constexpr size_t kColumns = 80;
}  // namespace

std::string line(const std::string& text) { return printable(text.substr(0, kColumns)) + "\n"; }

OrderedJson frame(const Subject& subject) {
  OrderedJson json;
  json["schema"] = "1.0";
  json["artifact"] = subject.artifact;
  json["status"] = status_name(subject.status);
  json["model"] = subject.model;
  json["backend"] = subject.backend;
  json["precision"] = subject.precision;
  json["device"] = subject.device;
  json["cuda_graph"] = subject.cuda_graph;
  json["batch"] = subject.batch;
  json["open_ms"] = subject.open_ms;
  json["load_ms"] = subject.load_ms;
  return json;
}

void add_footing(OrderedJson& json, const Subject& subject) {
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["file_bytes"] = subject.file_bytes;
  json["conditions"] = to_json(subject.conditions);
}

OrderedJson finite_or_null(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson();
}

std::string heading(const Subject& subject) {
  const Conditions& c = subject.conditions;
  std::string text = line(subject.model + ", " + subject.backend + " " + subject.precision +
                          ", batch " + std::to_string(subject.batch) + ", " + subject.device +
                          (subject.cuda_graph ? " graph" : "") +
                          format(", %d thread%s", c.threads, c.threads == 1 ? "" : "s"));
  text +=
      line((c.runtime.empty() ? "torch " + c.torch : c.runtime) + ", " + c.cpu_capability + ", " +
           (c.allocator.tcmalloc ? "tcmalloc" : "the system's malloc") + ", " + c.cpu_model);
  for (const std::string& warning : c.warnings) text += line("WARNING: " + warning);
  return text;
}

}  // namespace zoo
