#include "report/report_scenario.h"

#include <sstream>

#include "base/text.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

constexpr size_t kNarrow = 60;
constexpr const char* kIndent = "             ";

// Each line of the text, broken at spaces where it is longer than 60 columns.
std::string narrow(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string rest; std::getline(lines, rest);) {
    while (rest.size() > kNarrow) {
      const size_t space = rest.rfind(' ', kNarrow);
      const size_t first = rest.find_first_not_of(' ');
      const bool breaks = space != std::string::npos && space > first;
      const size_t end = breaks ? space : kNarrow;
      const std::string head = rest.substr(0, end);
      result += head.substr(0, head.find_last_not_of(' ') + 1) + "\n";
      rest = kIndent + rest.substr(breaks ? end + 1 : end);
    }
    result += rest + "\n";
  }
  return result;
}

std::string cores_text(const std::vector<std::vector<int>>& cores) {
  if (cores.empty()) return "not pinned to cores";
  std::string text = "pinned to cores";
  for (size_t i = 0; i < cores.size(); ++i) {
    text += i == 0 ? " " : "; ";
    for (size_t j = 0; j < cores[i].size(); ++j) {
      text += (j == 0 ? "" : ",") + std::to_string(cores[i][j]);
    }
  }
  return text;
}

std::string streams_text(const ScenarioReport& scenario) {
  return format("streams      %zu, %d thread%s each, ", scenario.streams, scenario.threads,
                scenario.threads == 1 ? "" : "s") +
         cores_text(scenario.cores) + "\n";
}

std::string meaning(const ScenarioReport& scenario) {
  switch (scenario.plan.scenario) {
    case Scenario::kSingleStream:
      return "one call after another";
    case Scenario::kMultiStream:
      return "a query is a call in each stream at once";
    case Scenario::kOffline:
      return "calls back to back in each stream";
    case Scenario::kServer:
      return format("Poisson arrivals, seed %llu; latency counts from the arrival",
                    static_cast<unsigned long long>(scenario.plan.seed));
  }
  return "";
}

OrderedJson search_json(const std::vector<RateStep>& steps) {
  OrderedJson list = OrderedJson::array();
  for (const RateStep& step : steps) {
    list.push_back({{"rate_per_s", step.rate_per_s},
                    {"queries", step.queries},
                    {"p99_ms", step.p99_ns ? OrderedJson(to_ms(*step.p99_ns)) : OrderedJson()},
                    {"passed", step.passed},
                    {"confirms", step.confirms}});
  }
  return list;
}

std::string server_text(const ScenarioReport& scenario) {
  if (scenario.plan.scenario != Scenario::kServer) return "";
  std::string text = format("rate         %10.2f queries/s; the p99 must lie under %g ms\n",
                            scenario.result.rate.value_or(0), scenario.plan.p99_ms);
  if (scenario.result.search.empty()) return text + "\n";
  text += "\nrates tried     queries/s  queries      p99 ms\n";
  for (const RateStep& step : scenario.result.search) {
    text += format("  %-10s %14.2f %8lld", step.confirms ? "again" : "", step.rate_per_s,
                   static_cast<long long>(step.queries));
    text += step.p99_ns ? format(" %11.4f", to_ms(*step.p99_ns)) : std::string("           -");
    text += step.passed ? "  passed\n" : "  failed\n";
  }
  return text + "\n";
}

OrderedJson repetition_json(const Repetition& repetition) {
  if (!repetition.ratio) return {};
  return {{"ratio", repetition.ratio->value},
          {"interval", {repetition.ratio->low, repetition.ratio->high}}};
}

std::string honesty_text(const ScenarioReport& scenario, int64_t answers, int64_t wrong) {
  std::string text = format("answers      %lld, %lld of them not as checked\n",
                            static_cast<long long>(answers), static_cast<long long>(wrong));
  if (const auto& ratio = scenario.result.repetition.ratio) {
    text += format(
        "repetition   the same sample again takes %.3f of the time of new ones, 95 %% interval "
        "%.3f to %.3f\n",
        ratio->value, ratio->low, ratio->high);
  }
  return text;
}

// Latency, and for offline the throughput.
void add_figures(Report& report, const Subject& subject, const ScenarioReport& scenario,
                 const Summary& summary) {
  const ScenarioResult& result = scenario.result;
  const bool offline = scenario.plan.scenario == Scenario::kOffline;
  const bool multi = scenario.plan.scenario == Scenario::kMultiStream;
  OrderedJson& json = report.document;
  json["queries"] = result.run.samples_ns.size();
  json["samples_per_query"] =
      subject.batch * (multi ? static_cast<int64_t>(scenario.streams) : int64_t{1});
  json["latency_ms"] = latency_json(summary);
  json["throughput_per_s"] = nullptr;
  if (offline) {
    const double per_s = calls_per_s(result.run) * static_cast<double>(subject.batch);
    json["throughput_per_s"] = per_s;
    report.text += format("throughput   %10.2f samples/s\n\n", per_s);
  }
  json["elapsed_ms"] = to_ms(result.run.steady_ns);
  json["hashing_ms"] = to_ms(result.run.hashing_ns);
  json["drift"] = or_null(summary.drift);
  json["clock_skew"] = or_null(clock_skew(result.run.steady_ns, result.run.system_ns));
  const std::string title = "latency of a " + std::string(offline ? "call" : "query") +
                            ", ms, over " + std::to_string(summary.count) + " of them";
  report.text += latency_text(summary, title, "fewer than 10 lie beyond it");
}

void add_setting(Report& report, const Subject& subject, const ScenarioReport& scenario) {
  const ScenarioPlan& plan = scenario.plan;
  const ScenarioResult& result = scenario.result;
  const bool server = plan.scenario == Scenario::kServer;
  OrderedJson& json = report.document;
  json["scenario"] = scenario_name(plan.scenario);
  json["streams"] = scenario.streams;
  json["threads_per_stream"] = scenario.threads;
  json["cores"] = scenario.cores.empty() ? OrderedJson() : OrderedJson(scenario.cores);
  json["warmup"] = {{"calls", result.warmup.calls}, {"ms", to_ms(result.warmup.steady_ns)}};
  json["rate_per_s"] = or_null(result.rate);
  json["p99_bound_ms"] = server ? OrderedJson(plan.p99_ms) : OrderedJson();
  json["seed"] = plan.seed;
  json["search"] = search_json(result.search);
  report.text = heading(subject) + "\n";
  report.text += "scenario     " + std::string(scenario_name(plan.scenario)) + ": " +
                 meaning(scenario) + "\n" + streams_text(scenario);
  report.text +=
      format("load         %10.1f ms; warm-up %lld calls in %.0f ms\n", subject.load_ms,
             static_cast<long long>(result.warmup.calls), to_ms(result.warmup.steady_ns));
  report.text += server_text(scenario) + (server ? "" : "\n");
}

}  // namespace

Report report_scenario(const Subject& subject, const ScenarioReport& scenario,
                       std::span<const Percentile> percentiles, bool strict) {
  const ScenarioResult& result = scenario.result;
  Report report;
  report.document = frame(subject);
  add_setting(report, subject, scenario);
  add_figures(report, subject, scenario, summarize(result.run.samples_ns, with_usual(percentiles)));
  const int64_t answers = result.warmup.calls + result.run.calls + result.repetition.calls;
  const int64_t wrong = result.warmup.wrong + result.run.wrong + result.repetition.wrong;
  report.document["answers"] = {{"checked", answers}, {"wrong", wrong}};
  report.document["repetition"] = repetition_json(result.repetition);
  report.text += "\n" + honesty_text(scenario, answers, wrong);
  std::vector<std::string> reasons = scenario.flaws;
  reasons.insert(reasons.end(), result.reasons.begin(), result.reasons.end());
  report.document["verdict"] = reasons.empty() ? "VALID" : "INVALID";
  report.document["reasons"] = reasons;
  report.text = narrow(report.text + "\n" + verdict_text(reasons));
  add_footing(report.document, subject);
  report.document["samples_ns"] = result.run.samples_ns;
  if (strict && !reasons.empty()) report.exit_code = ExitCode::kCheckFailed;
  return report;
}

}  // namespace zoo
