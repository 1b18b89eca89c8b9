#include <algorithm>

#include "base/text.h"
#include "report/report.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

std::string gpu_text(const Summary& summary) {
  std::string text = format("by the GPU's own events: median %.4f", to_ms(summary.median));
  if (summary.median_interval) {
    text += format(", 95 %% interval %.4f to %.4f", to_ms(summary.median_interval->low),
                   to_ms(summary.median_interval->high));
  }
  return text + "\n";
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
      {"scenario", scenario_name(Scenario::kSingleStream),
       "scenario single-stream: one call after another\n"},
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
      {"latency_ms", latency_json(summary),
       latency_text(summary,
                    format("latency of one call, ms, over %lld calls",
                           static_cast<long long>(summary.count)),
                    "fewer than 10 calls lie beyond it")},
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
