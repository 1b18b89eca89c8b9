#include <algorithm>
#include <string>

#include "base/text.h"
#include "report/report.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

std::string letter(size_t index) { return {static_cast<char>('A' + index)}; }

Summary summary_of(const Compared& program) { return summarize(program.rounds_ns, {}); }

OrderedJson latency_json(const Compared& program) {
  const Summary summary = summary_of(program);
  OrderedJson json{{"median", to_ms(summary.median)}, {"median_interval", nullptr}};
  if (const auto interval = summary.median_interval) {
    json["median_interval"] = {to_ms(interval->low), to_ms(interval->high)};
  }
  json["n"] = program.calls;
  return json;
}

OrderedJson ratio_json(const std::optional<Ratio>& ratio) {
  if (!ratio) return {};
  return {{"value", ratio->value},
          {"interval", {ratio->low, ratio->high}},
          {"verdict", ratio->verdict()}};
}

std::vector<std::string> reasons_of(const Compared& program) {
  std::vector<std::string> reasons;
  if (!program.flaw.empty()) reasons.push_back(program.flaw);
  if (!program.stable) reasons.emplace_back("its output changed between two calls");
  return reasons;
}

OrderedJson program_json(const Compared& program, const std::optional<Ratio>& ratio) {
  OrderedJson json = program.subject;
  json.erase("schema");
  json["latency_ms"] = latency_json(program);
  json["ratio"] = ratio_json(ratio);
  json["rounds_ms"] = OrderedJson::array();
  for (const int64_t median : program.rounds_ns) json["rounds_ms"].push_back(to_ms(median));
  const std::vector<std::string> reasons = reasons_of(program);
  json["verdict"] = reasons.empty() ? "VALID" : "INVALID";
  json["reasons"] = reasons;
  return json;
}

std::string heading_text(const Comparison& comparison) {
  const Compared& first = comparison.programs.front();
  const OrderedJson& conditions = first.subject["conditions"];
  const auto threads = conditions["threads"].get<int64_t>();
  return line(format("%zu programs, %zu rounds, batch %lld, %lld thread%s, seed %llu",
                     comparison.programs.size(), first.rounds_ns.size(),
                     first.subject["batch"].get<long long>(), static_cast<long long>(threads),
                     threads == 1 ? "" : "s", static_cast<unsigned long long>(comparison.seed))) +
         line(conditions["cpu"].get<std::string>());
}

std::string row_text(const Compared& program, const std::optional<Ratio>& ratio, size_t index) {
  std::string text = format("%s  %10.4f", letter(index).c_str(), to_ms(summary_of(program).median));
  if (ratio) {
    text += format("  %10.3f   %.3f to %.3f   ", ratio->value, ratio->low, ratio->high);
    text += ratio->verdict();
  }
  return line(text);
}

}  // namespace

Report report_comparison(const Comparison& comparison) {
  const std::vector<Compared>& programs = comparison.programs;
  Report report;
  report.document = {{"schema", "1.0"},
                     {"kind", "comparison"},
                     {"rounds", programs.front().rounds_ns.size()},
                     {"seconds", comparison.seconds},
                     {"seed", comparison.seed},
                     {"programs", OrderedJson::array()}};
  report.text = heading_text(comparison) + "\n";
  for (size_t i = 0; i < programs.size(); ++i) {
    report.text += line(letter(i) + "  " + programs[i].subject["artifact"].get<std::string>());
  }
  report.text += "\n     median ms  time / A's   95 % interval\n";
  std::string doubts;
  for (size_t i = 0; i < programs.size(); ++i) {
    std::optional<Ratio> ratio;
    if (i > 0) ratio = ratio_of(programs[i].rounds_ns, programs.front().rounds_ns);
    report.document["programs"].push_back(program_json(programs[i], ratio));
    report.text += row_text(programs[i], ratio, i);
    for (const std::string& reason : reasons_of(programs[i])) {
      doubts += line("INVALID " + letter(i) + ": " + reason);
    }
  }
  report.text += doubts.empty() ? "" : "\n" + doubts;
  return report;
}

}  // namespace zoo
