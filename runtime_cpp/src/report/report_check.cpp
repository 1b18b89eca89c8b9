#include <algorithm>

#include "base/text.h"
#include "report/check_tables.h"
#include "report/report.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

const char* verdict(bool passed) { return passed ? "PASSED" : "FAILED"; }

std::string gates_text(const std::vector<Gate>& gates) {
  if (gates.empty()) return "";
  std::string text = "\ngates passed when it was built (recorded, not repeated)\n";
  for (const Gate& gate : gates) {
    text += format("  %-40.40s", printable(gate.name).c_str());
    if (gate.value) text += format(" %10.3g", *gate.value);
    if (gate.bound) text += format(" of %.3g", *gate.bound);
    text += gate.passed ? "" : " FAILED";
    text += "\n";
  }
  return text;
}

OrderedJson gates_json(const std::vector<Gate>& gates) {
  OrderedJson list = OrderedJson::array();
  for (const Gate& gate : gates) {
    list.push_back({{"name", gate.name},
                    {"value", or_null(gate.value)},
                    {"bound", or_null(gate.bound)},
                    {"passed", gate.passed}});
  }
  return list;
}

OrderedJson outputs_json(const std::vector<OutputResult>& outputs) {
  OrderedJson list = OrderedJson::array();
  for (const OutputResult& output : outputs) {
    const RowResult& worst = output.rows[output.worst_row()];
    OrderedJson item{{"name", output.name},
                     {"shape", output.shape},
                     {"verdict", verdict(output.passed())},
                     {"ratio", finite_or_null(worst.worst().ratio())},
                     {"worst", place_text(worst)},
                     {"max_abs", finite_or_null(output.max_abs)},
                     {"top1", nullptr},
                     {"rows", rows_json(output)}};
    if (output.has_classes) {
      item["top1"] = {{"decided", output.num_decided}, {"agreed", output.num_agreed}};
    }
    list.push_back(item);
  }
  return list;
}

std::string verdict_line(const ProgramCheck& check) {
  int64_t passed = 0;
  int64_t decided = 0;
  int64_t agreed = 0;
  bool has_classes = false;
  std::string undecided;
  const std::vector<OutputResult>& outputs = check.outputs;
  for (size_t row = 0; row < outputs.front().rows.size(); ++row) {
    const bool all = std::ranges::all_of(
        outputs, [&](const OutputResult& output) { return output.rows[row].passed(); });
    passed += all ? 1 : 0;
  }
  for (const OutputResult& output : outputs) {
    decided += output.num_decided;
    agreed += output.num_agreed;
    if (!output.has_classes) continue;
    has_classes = true;
    if (output.num_ordinary_decided == 0) {
      undecided = "; at least one of the first 16 rows must decide a class";
    }
  }
  std::string text = format("%s: %lld of %zu rows pass", verdict(check.passed()),
                            static_cast<long long>(passed), outputs.front().rows.size());
  if (has_classes) {
    text += format(", top-1 agrees on %lld of %lld decided", static_cast<long long>(agreed),
                   static_cast<long long>(decided));
  }
  return text + undecided + "\n";
}

OrderedJson check_json(const Parity& parity, const std::vector<ProgramCheck>& checks,
                       const ProgramCheck& shown, bool passed) {
  OrderedJson check;
  check["verdict"] = verdict(passed);
  check["file"] = shown.program;
  check["k"] = parity.k;
  check["samples"] = samples_json(shown.outputs);
  int64_t decided = 0;
  int64_t agreed = 0;
  double max_abs = 0;
  for (const OutputResult& output : shown.outputs) {
    decided += output.num_decided;
    agreed += output.num_agreed;
    if (is_worse(output.max_abs, max_abs)) max_abs = output.max_abs;
  }
  check["top1"] = {{"decided", decided}, {"agreed", agreed}};
  check["max_abs"] = finite_or_null(max_abs);
  check["outputs"] = outputs_json(shown.outputs);
  check["gates"] = gates_json(parity.gates);
  check["programs"] = OrderedJson::array();
  for (const ProgramCheck& one : checks) {
    check["programs"].push_back(
        {{"file", one.program}, {"batch", one.batch}, {"verdict", verdict(one.passed())}});
  }
  return check;
}

}  // namespace

bool ProgramCheck::passed() const { return std::ranges::all_of(outputs, &OutputResult::passed); }

Report report_check(const Subject& subject, const Parity& parity,
                    const std::vector<ProgramCheck>& checks) {
  // Of several programs, the first that failed is the one to show.
  const auto failed =
      std::ranges::find_if(checks, [](const ProgramCheck& check) { return !check.passed(); });
  const ProgramCheck& shown = failed == checks.end() ? checks.front() : *failed;
  const bool accepted = subject.status == Status::kAccepted;
  const bool passed = failed == checks.end() && !accepted;

  Report report;
  report.document = frame(subject);
  report.document["check"] = check_json(parity, checks, shown, passed);
  add_footing(report.document, subject);

  report.text = heading(subject) + "\n" + outputs_text(shown.outputs) +
                samples_text(shown.outputs) + gates_text(parity.gates) + "\n";
  for (const ProgramCheck& one : checks) {
    if (checks.size() > 1) {
      report.text +=
          printable(one.program) + format(", batch %lld: ", static_cast<long long>(one.batch));
    }
    report.text += verdict_line(one);
  }
  if (accepted) {
    report.text += "FAILED: status accepted, it was published although it failed its proof\n";
  }
  if (!passed) report.exit_code = ExitCode::kCheckFailed;
  return report;
}

}  // namespace zoo
