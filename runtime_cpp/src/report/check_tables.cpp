#include "report/check_tables.h"

#include <algorithm>

#include "base/text.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

// Of the outputs, the one to show for a row: the first that failed it, else the worst.
const OutputResult& shown_output(const std::vector<OutputResult>& outputs, size_t row) {
  const auto failed = std::ranges::find_if(
      outputs, [&](const OutputResult& output) { return !output.rows[row].passed(); });
  if (failed != outputs.end()) return *failed;
  const OutputResult* worst = &outputs.front();
  for (const OutputResult& output : outputs) {
    if (is_worse(output.rows[row].worst().ratio(), worst->rows[row].worst().ratio())) {
      worst = &output;
    }
  }
  return *worst;
}

bool one_without_parts(const std::vector<OutputResult>& outputs) {
  return outputs.size() == 1 && !outputs.front().rows.front().part;
}

const char* top1_text(const OutputResult& output, const RowResult& row) {
  if (!output.has_classes) return "-";
  if (!row.decided) return "too close";
  return row.agreed ? "agrees" : "DIFFERS";
}

std::string part_text(const PartError& part) {
  std::string text = "channel " + std::to_string(part.first_channel);
  if (part.last_channel > part.first_channel) {
    text = "channels " + std::to_string(part.first_channel) + " to " +
           std::to_string(part.last_channel);
  }
  return text + (part.border ? ", border" : ", interior");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text.empty() ? "one value" : text;
}

OrderedJson row_json(const RowResult& row, const Error& error) {
  return {{"kind", row.kind},       {"rmse", finite_or_null(error.rmse)},
          {"bound", error.bound},   {"ratio", finite_or_null(error.ratio())},
          {"decided", row.decided}, {"agreed", row.agreed},
          {"passed", row.passed()}};
}

// What stands behind a row's figures.
std::string remark(const OutputResult& output, const RowResult& row, bool names_output) {
  const std::string failed = row.passed() ? "" : "FAILED: ";
  std::string text = names_output ? output.name : "";
  if (row.part_is_worst()) text += (text.empty() ? "" : ", ") + part_text(*row.part);
  if (row.decided && !row.agreed) text += (text.empty() ? "" : ", ") + std::string("top-1 DIFFERS");
  return failed + (text.empty() ? "all of it" : text);
}

}  // namespace

std::string place_text(const RowResult& row) {
  return row.kind + (row.part_is_worst() ? ", " + part_text(*row.part) : "");
}

std::string outputs_text(const std::vector<OutputResult>& outputs) {
  if (one_without_parts(outputs)) return "";
  std::string text = "output        shape           error/bound  worst row and part\n";
  for (const OutputResult& output : outputs) {
    const size_t worst = output.worst_row();
    text +=
        line(format("%-12.12s  %-14.14s  %11.3f  %zu ", printable(output.name).c_str(),
                    shape_text(output.shape).c_str(), output.rows[worst].worst().ratio(), worst) +
             place_text(output.rows[worst]));
  }
  return text + "\n";
}

std::string samples_text(const std::vector<OutputResult>& outputs) {
  const bool plain = one_without_parts(outputs);
  std::string text = "row  kind              rmse       bound   rmse/bound  ";
  text += plain ? "top-1\n" : "worst\n";
  for (size_t i = 0; i < outputs.front().rows.size(); ++i) {
    const OutputResult& output = shown_output(outputs, i);
    const RowResult& row = output.rows[i];
    const Error& error = row.worst();
    const std::string figures =
        format("%3zu  %-12.12s %9.3g   %9.3g   %10.3f  ", i, printable(row.kind).c_str(),
               error.rmse, error.bound, error.ratio());
    text +=
        line(figures + (plain ? top1_text(output, row) + std::string(row.passed() ? "" : ", FAILED")
                              : remark(output, row, outputs.size() > 1)));
  }
  return text;
}

OrderedJson samples_json(const std::vector<OutputResult>& outputs) {
  OrderedJson samples = OrderedJson::array();
  for (size_t i = 0; i < outputs.front().rows.size(); ++i) {
    const RowResult& shown = shown_output(outputs, i).rows[i];
    OrderedJson sample = row_json(shown, shown.worst());
    sample["decided"] = std::ranges::any_of(
        outputs, [&](const OutputResult& output) { return output.rows[i].decided; });
    sample["agreed"] = std::ranges::all_of(outputs, [&](const OutputResult& output) {
      return !output.has_classes || output.rows[i].agreed;
    });
    samples.push_back(sample);
  }
  return samples;
}

OrderedJson rows_json(const OutputResult& output) {
  OrderedJson rows = OrderedJson::array();
  for (const RowResult& row : output.rows) {
    OrderedJson item = row_json(row, row.whole);
    item["part"] = nullptr;
    if (row.part) {
      item["part"] = {{"channels", {row.part->first_channel, row.part->last_channel}},
                      {"border", row.part->border},
                      {"rmse", finite_or_null(row.part->rmse)},
                      {"bound", row.part->bound},
                      {"ratio", finite_or_null(row.part->ratio())}};
    }
    rows.push_back(item);
  }
  return rows;
}

}  // namespace zoo
