#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "measure/parity.h"

namespace zoo {

// The tables of a check: a line for each output, and a line for each row.

// "normal, channel 3, border": the row, and the part of it that is worst; "normal" where it is the
// row as a whole.
[[nodiscard]] std::string place_text(const RowResult& row);

// A line for each output. Empty where there is one output without parts: the rows say it all.
[[nodiscard]] std::string outputs_text(const std::vector<OutputResult>& outputs);

// A line for each golden row: of its errors in all outputs, the worst.
[[nodiscard]] std::string samples_text(const std::vector<OutputResult>& outputs);
[[nodiscard]] OrderedJson samples_json(const std::vector<OutputResult>& outputs);

// The rows of one output.
[[nodiscard]] OrderedJson rows_json(const OutputResult& output);

}  // namespace zoo
