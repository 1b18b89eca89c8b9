#include <algorithm>

#include "base/text.h"
#include "report/report.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

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

std::string latency_text(const Summary& summary) {
  std::string text =
      format("latency of one call, ms, over %lld calls\n", static_cast<long long>(summary.count));
  text += format("  %-10s %10.4f", "median", to_ms(summary.median));
  if (summary.median_interval) {
    text += format("   95 %% interval %.4f to %.4f", to_ms(summary.median_interval->low),
                   to_ms(summary.median_interval->high));
  }
  text += "\n";
  for (const auto& [p, value] : summary.percentiles) {
    if (p.thousandths == 50'000) continue;
    text += value ? format("  %-10s %10.4f\n", p.name().c_str(), to_ms(*value))
                  : format("  %-10s          -   fewer than 10 calls lie beyond it\n",
                           p.name().c_str());
  }
  text += format("  %-10s %10.4f\n  %-10s %10.4f\n", "min", to_ms(summary.min), "max",
                 to_ms(summary.max));
  text += format("  %-10s %10.4f", "mean", summary.mean / 1e6);
  if (summary.cov) text += format("   standard deviation %.1f %% of it", *summary.cov * 100);
  return text + "\n";
}

std::string gpu_text(const Summary& summary) {
  std::string text = format("by the GPU's own events: median %.4f", to_ms(summary.median));
  if (summary.median_interval) {
    text += format(", 95 %% interval %.4f to %.4f", to_ms(summary.median_interval->low),
                   to_ms(summary.median_interval->high));
  }
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

std::string drift_text(std::optional<double> drift) {
  if (!drift) return "";
  return format("drift        %+10.1f %% from the first half's median to the second's\n",
                *drift * 100);
}

std::string memory_text(const Subject& subject) {
  return format("memory       %10.1f MiB at the peak, program file %.2f MiB\n",
                static_cast<double>(peak_rss_bytes()) / (1 << 20),
                static_cast<double>(subject.file_bytes) / (1 << 20));
}

std::string stability_text(const Stability& stability) {
  if (stability.identical) return "";
  return "output       changed between the first and the last call" +
         (stability.max_abs_difference
              ? format(", by at most %.3g\n", *stability.max_abs_difference)
              : std::string(", to values that are not finite\n"));
}

// What a measurement comes to.
struct Figures {
  Summary summary;
  std::optional<Summary> gpu;  // none on cpu
  double samples_per_s = 0;
  std::optional<double> skew;
  std::vector<std::string> reasons;  // why none of it may be believed; empty: VALID
};

Figures figures_of(const Measurement& measurement, int64_t batch,
                   std::span<const Percentile> asked) {
  const std::vector<Percentile> percentiles = with_usual(asked);
  Figures figures;
  figures.summary = summarize(measurement.samples_ns, percentiles);
  if (!measurement.gpu_samples_ns.empty()) {
    figures.gpu = summarize(measurement.gpu_samples_ns, percentiles);
  }
  figures.samples_per_s = throughput_per_s(measurement, batch);
  figures.skew = clock_skew(measurement.steady_ns, measurement.system_ns);
  figures.reasons = invalid_reasons(figures.summary, figures.skew);
  if (!measurement.flaw.empty()) figures.reasons.push_back(measurement.flaw);
  return figures;
}

// One figure: its key in the document, its value there, and what is printed of it.
struct Row {
  const char* key;  // null: only printed
  OrderedJson value;
  std::string text;  // empty: only in the document
};

std::vector<Row> cold_rows(const Subject& subject, const Measurement& m) {
  const double first_ms = to_ms(m.first_call_ns);
  const double second_ms = to_ms(m.second_call_ns);
  return {
      {"first_call_ms", first_ms,
       format("load %.1f ms, first call %.2f ms", subject.load_ms, first_ms)},
      {"second_call_ms", second_ms, format(", second call %.2f ms\n", second_ms)},
      {"warmup",
       {{"calls", m.warmup_calls}, {"ms", to_ms(m.warmup_ns)}},
       format("warm-up: %lld calls in %.0f ms, not in the figures below\n\n",
              static_cast<long long>(m.warmup_calls), to_ms(m.warmup_ns))},
  };
}

std::vector<Row> warm_rows(const Subject& subject, const Measurement& m, const Figures& figures,
                           const Stability& stability) {
  const Summary& summary = figures.summary;
  return {
      {"latency_ms", latency_json(summary), latency_text(summary)},
      {"gpu_latency_ms", figures.gpu ? latency_json(*figures.gpu) : OrderedJson(),
       figures.gpu ? gpu_text(*figures.gpu) : ""},
      {"throughput_per_s", figures.samples_per_s,
       format("throughput   %10.2f samples/s, one call after another\n", figures.samples_per_s)},
      {"elapsed_ms", to_ms(m.steady_ns), ""},
      {"drift", or_null(summary.drift), drift_text(summary.drift)},
      {"clock_skew", or_null(figures.skew), ""},
      {nullptr, nullptr, memory_text(subject)},
      {"output_stable", stability.identical, stability_text(stability)},
      {"output_max_abs_difference", or_null(stability.max_abs_difference), ""},
      {"verdict", figures.reasons.empty() ? "VALID" : "INVALID",
       "\n" + verdict_text(figures.reasons)},
      {"reasons", figures.reasons, ""},
  };
}

void add_rows(Report& report, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    if (row.key != nullptr) report.document[row.key] = row.value;
    report.text += row.text;
  }
}

}  // namespace

Report report_measurement(const Subject& subject, const Measurement& measurement,
                          const Stability& stability, std::span<const Percentile> percentiles,
                          bool strict) {
  const Figures figures = figures_of(measurement, subject.batch, percentiles);
  Report report;
  report.document = frame(subject);
  report.text = heading(subject) + "\n";
  add_rows(report, cold_rows(subject, measurement));
  add_rows(report, warm_rows(subject, measurement, figures, stability));
  add_footing(report.document, subject);
  report.document["samples_ns"] = measurement.samples_ns;
  if (figures.gpu) report.document["gpu_samples_ns"] = measurement.gpu_samples_ns;
  if (strict && !figures.reasons.empty()) report.exit_code = ExitCode::kCheckFailed;
  return report;
}

}  // namespace zoo
