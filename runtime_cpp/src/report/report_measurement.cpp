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

}  // namespace

Report report_measurement(const Subject& subject, const Measurement& measurement,
                          const Stability& stability, std::span<const Percentile> percentiles,
                          bool strict) {
  const Summary summary = summarize(measurement.samples_ns, with_usual(percentiles));
  std::optional<Summary> gpu;
  if (!measurement.gpu_samples_ns.empty()) {
    gpu = summarize(measurement.gpu_samples_ns, with_usual(percentiles));
  }
  const auto skew = clock_skew(measurement.steady_ns, measurement.system_ns);
  const std::vector<std::string> reasons = invalid_reasons(summary, skew);
  const double samples_per_s = static_cast<double>(subject.batch) *
                               static_cast<double>(summary.count) * 1e9 /
                               static_cast<double>(std::max<int64_t>(1, measurement.steady_ns));
  Report report;
  OrderedJson& json = report.document = frame(subject);
  json["first_call_ms"] = to_ms(measurement.first_call_ns);
  json["second_call_ms"] = to_ms(measurement.second_call_ns);
  json["warmup"] = {{"calls", measurement.warmup_calls}, {"ms", to_ms(measurement.warmup_ns)}};
  json["latency_ms"] = latency_json(summary);
  json["gpu_latency_ms"] = nullptr;
  if (gpu) json["gpu_latency_ms"] = latency_json(*gpu);
  json["throughput_per_s"] = samples_per_s;
  json["elapsed_ms"] = to_ms(measurement.steady_ns);
  json["drift"] = or_null(summary.drift);
  json["clock_skew"] = or_null(skew);
  json["output_stable"] = stability.identical;
  json["output_max_abs_difference"] = or_null(stability.max_abs_difference);
  json["verdict"] = reasons.empty() ? "VALID" : "INVALID";
  json["reasons"] = reasons;
  add_footing(json, subject);
  json["samples_ns"] = measurement.samples_ns;
  if (gpu) json["gpu_samples_ns"] = measurement.gpu_samples_ns;

  report.text = heading(subject);
  report.text +=
      format("\nload %.1f ms, first call %.2f ms, second call %.2f ms\n", subject.load_ms,
             to_ms(measurement.first_call_ns), to_ms(measurement.second_call_ns));
  report.text +=
      format("warm-up: %lld calls in %.0f ms, not in the figures below\n\n",
             static_cast<long long>(measurement.warmup_calls), to_ms(measurement.warmup_ns));
  report.text += latency_text(summary);
  if (gpu) report.text += gpu_text(*gpu);
  report.text += format("throughput   %10.2f samples/s, one call after another\n", samples_per_s);
  if (summary.drift) {
    report.text += format("drift        %+10.1f %% from the first half's median to the second's\n",
                          *summary.drift * 100);
  }
  report.text += format("memory       %10.1f MiB at the peak, program file %.2f MiB\n",
                        static_cast<double>(peak_rss_bytes()) / (1 << 20),
                        static_cast<double>(subject.file_bytes) / (1 << 20));
  if (!stability.identical) {
    report.text += "output       changed between the first and the last call";
    report.text += stability.max_abs_difference
                       ? format(", by at most %.3g\n", *stability.max_abs_difference)
                       : ", to values that are not finite\n";
  }
  report.text += "\n" + verdict_text(reasons);
  if (strict && !reasons.empty()) report.exit_code = ExitCode::kCheckFailed;
  return report;
}

}  // namespace zoo
