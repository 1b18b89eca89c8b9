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

Report report_inference(const Subject& subject, const std::vector<InferredRow>& rows,
                        const std::vector<std::string>& classes, const std::string& output) {
  Report report;
  OrderedJson& json = report.document = frame(subject);
  OrderedJson list = OrderedJson::array();
  const auto class_name = [&](int64_t index) {
    return classes.empty() ? std::string() : classes[static_cast<size_t>(index)];
  };
  for (const InferredRow& row : rows) {
    OrderedJson item{{"top1", row.top1}, {"value", row.value}};
    if (!classes.empty()) item["class"] = class_name(row.top1);
    list.push_back(item);
  }
  json["run"] = {{"rows", rows.size()}, {"top1", list}};
  json["run"]["output"] = output.empty() ? OrderedJson() : OrderedJson(output);
  add_footing(json, subject);

  report.text = heading(subject) + "\nrow  class       value\n";
  for (size_t i = 0; i < std::min(rows.size(), kRowsShown); ++i) {
    report.text += line(format("%3zu  %5lld  %10.4f  ", i, static_cast<long long>(rows[i].top1),
                               static_cast<double>(rows[i].value)) +
                        class_name(rows[i].top1));
  }
  if (rows.size() > kRowsShown) report.text += format("... %zu rows in all\n", rows.size());
  if (!output.empty()) report.text += "wrote " + printable(output) + "\n";
  return report;
}

void check_outputs(const Options& options) {
  if (!options.output.empty()) check_writable(options.output);
  if (!options.json.empty() && !options.json_to_stdout()) check_writable(options.json);
}

void publish(const Report& report, const Options& options, std::ostream& out) {
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
