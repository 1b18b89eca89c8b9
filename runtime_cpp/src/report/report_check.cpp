#include <algorithm>

#include "base/text.h"
#include "report/report.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

const char* verdict(bool passed) { return passed ? "PASSED" : "FAILED"; }

const char* top1_text(const CheckResult& result, const RowResult& row) {
  if (!result.has_classes) return "-";
  if (!row.decided) return "too close";
  return row.agreed ? "agrees" : "DIFFERS";
}

OrderedJson rows_json(const CheckResult& result) {
  OrderedJson rows = OrderedJson::array();
  for (const RowResult& row : result.rows) {
    rows.push_back({{"kind", row.kind},
                    {"rmse", finite_or_null(row.rmse)},
                    {"bound", row.bound},
                    {"ratio", finite_or_null(row.ratio())},
                    {"decided", row.decided},
                    {"agreed", row.agreed},
                    {"passed", row.passed()}});
  }
  return rows;
}

std::string rows_text(const CheckResult& result) {
  std::string text = "row  kind              rmse       bound   rmse/bound  top-1\n";
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const RowResult& row = result.rows[i];
    text += format("%3zu  %-12.12s %9.3g   %9.3g   %10.3f  %s%s\n", i, printable(row.kind).c_str(),
                   row.rmse, row.bound, row.ratio(), top1_text(result, row),
                   row.passed() ? "" : ", FAILED");
  }
  return text;
}

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

std::string verdict_line(const CheckResult& result) {
  const auto passed = std::ranges::count_if(result.rows, &RowResult::passed);
  std::string text =
      format("%s: %lld of %zu rows pass, top-1 agrees on %lld of %lld decided",
             verdict(result.passed()), static_cast<long long>(passed), result.rows.size(),
             static_cast<long long>(result.num_agreed), static_cast<long long>(result.num_decided));
  if (result.has_classes && result.num_ordinary_decided == 0)
    text += "; at least one of the first 16 rows must decide a class";
  return text + "\n";
}

}  // namespace

Report report_check(const Subject& subject, const Parity& parity,
                    const std::vector<ProgramCheck>& checks) {
  // Of several programs, the first that failed is the one to show.
  const auto failed = std::ranges::find_if(
      checks, [](const ProgramCheck& check) { return !check.result.passed(); });
  const ProgramCheck& shown = failed == checks.end() ? checks.front() : *failed;
  const bool accepted = subject.status == Status::kAccepted;
  const bool passed = failed == checks.end() && !accepted;

  Report report;
  OrderedJson& json = report.document = frame(subject);
  OrderedJson check;
  check["verdict"] = verdict(passed);
  check["file"] = shown.program;
  check["k"] = parity.k;
  check["samples"] = rows_json(shown.result);
  check["top1"] = {{"decided", shown.result.num_decided}, {"agreed", shown.result.num_agreed}};
  check["max_abs"] = finite_or_null(shown.result.max_abs);
  check["gates"] = gates_json(parity.gates);
  check["programs"] = OrderedJson::array();
  for (const ProgramCheck& one : checks) {
    check["programs"].push_back(
        {{"file", one.program}, {"batch", one.batch}, {"verdict", verdict(one.result.passed())}});
  }
  json["check"] = check;
  add_footing(json, subject);

  report.text = heading(subject) + "\n" + rows_text(shown.result) + gates_text(parity.gates) + "\n";
  for (const ProgramCheck& one : checks) {
    if (checks.size() > 1) {
      report.text +=
          printable(one.program) + format(", batch %lld: ", static_cast<long long>(one.batch));
    }
    report.text += verdict_line(one.result);
  }
  if (accepted) {
    report.text += "FAILED: status accepted, it was published although it failed its proof\n";
  }
  if (!passed) report.exit_code = ExitCode::kCheckFailed;
  return report;
}

}  // namespace zoo
