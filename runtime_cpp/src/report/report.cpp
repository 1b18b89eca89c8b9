#include "report/report.h"

#include <algorithm>
#include <iostream>

#include "base/atomic_file.h"
#include "base/paths.h"
#include "base/text.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

constexpr size_t kRowsShown = 16;

}  // namespace

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
  json["run"]["output"] = inference.output.empty() ? OrderedJson() : OrderedJson(inference.output);
  add_footing(json, subject);

  report.text = heading(subject) + "\n";
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
  if (!options.output.empty()) check_writable(options.output);
  if (!options.json.empty() && !options.json_to_stdout()) check_writable(options.json);
}

void write_report(const Report& report, const Options& options, std::ostream& out) {
  if (!options.json.empty() && !options.json_to_stdout()) {
    write_atomically(options.json, dump_json(report.document));
  }
  if (options.json_to_stdout()) {
    out << dump_json(report.document);
  } else if (!options.quiet) {
    out << report.text;
  }
  out.flush();
  if (!out) fail_machine("the report cannot be written to stdout");
}

}  // namespace zoo
