#include "report/report_parts.h"

#include <algorithm>
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

OrderedJson latency_json(const Summary& summary) {
  OrderedJson json;
  json["median"] = to_ms(summary.median);
  json["median_interval"] = nullptr;
  if (summary.median_interval) {
    json["median_interval"] = {to_ms(summary.median_interval->low),
                               to_ms(summary.median_interval->high)};
  }
  for (const auto& [p, value] : summary.percentiles) {
    json[p.name()] = value ? OrderedJson(to_ms(*value)) : OrderedJson();
  }
  json["min"] = to_ms(summary.min);
  json["max"] = to_ms(summary.max);
  json["mean"] = summary.mean / 1e6;
  json["cov"] = or_null(summary.cov);
  json["n"] = summary.count;
  return json;
}

std::string latency_text(const Summary& summary, const std::string& title,
                         const std::string& too_few) {
  std::string text = title + "\n";
  text += format("  %-10s %10.4f", "median", to_ms(summary.median));
  if (summary.median_interval) {
    text += format("   95 %% interval %.4f to %.4f", to_ms(summary.median_interval->low),
                   to_ms(summary.median_interval->high));
  }
  text += "\n";
  for (const auto& [p, value] : summary.percentiles) {
    if (p.thousandths == 50'000) continue;
    text += value ? format("  %-10s %10.4f\n", p.name().c_str(), to_ms(*value))
                  : format("  %-10s          -   %s\n", p.name().c_str(), too_few.c_str());
  }
  text += format("  %-10s %10.4f\n  %-10s %10.4f\n", "min", to_ms(summary.min), "max",
                 to_ms(summary.max));
  text += format("  %-10s %10.4f", "mean", summary.mean / 1e6);
  if (summary.cov) text += format("   standard deviation %.1f %% of it", *summary.cov * 100);
  return text + "\n";
}

std::vector<Percentile> with_usual(std::span<const Percentile> asked) {
  std::vector<Percentile> list(asked.begin(), asked.end());
  list.push_back({90'000});
  list.push_back({99'000});
  std::ranges::sort(list, {}, &Percentile::thousandths);
  const auto repeated = std::ranges::unique(list, {}, &Percentile::thousandths);
  list.erase(repeated.begin(), repeated.end());
  return list;
}

std::string verdict_text(const std::vector<std::string>& reasons) {
  if (reasons.empty()) return "VALID\n";
  std::string text = "INVALID: do not quote these figures\n";
  for (const std::string& reason : reasons) text += "  " + reason + "\n";
  return text;
}

}  // namespace zoo
