#include "artifact/programs.h"

#include <algorithm>

#include "base/error.h"

namespace zoo {

namespace {

bool answers(const Program& program, int64_t batch) {
  return program.min_batch <= batch && batch <= program.max_batch;
}

std::optional<size_t> find_program(const std::vector<Program>& programs, int64_t batch) {
  for (size_t i = 0; i < programs.size(); ++i) {
    if (answers(programs[i], batch)) return i;
  }
  return std::nullopt;
}

// The size of one call where none takes all `rows`: the largest that any program takes.
int64_t largest_batch(const std::vector<Program>& programs, int64_t rows) {
  int64_t largest = 0;
  for (const Program& program : programs) {
    if (program.min_batch <= rows) largest = std::max(largest, program.max_batch);
  }
  return largest > 0 ? largest : programs.front().min_batch;
}

// The rows of each call but for the last, which takes what remains.
int64_t call_rows(const std::vector<Program>& programs, int64_t rows,
                  std::optional<int64_t> batch) {
  if (batch) (void)select_program(programs, batch);
  const int64_t size = batch.value_or(rows);
  return find_program(programs, size) ? size : largest_batch(programs, rows);
}

}  // namespace

std::string describe_batches(const Program& program) {
  const std::string min = std::to_string(program.min_batch);
  return program.min_batch == program.max_batch
             ? "batch " + min
             : "batches " + min + " to " + std::to_string(program.max_batch);
}

std::string describe_batches(const std::vector<Program>& programs) {
  std::string text;
  for (const Program& program : programs) {
    text += (text.empty() ? "" : ", ") + describe_batches(program);
  }
  return text;
}

std::string describe_program(const Program& program) {
  return program.entry ? program.file + ":" + *program.entry : program.file;
}

size_t select_program(const std::vector<Program>& programs, std::optional<int64_t> batch) {
  if (!batch) return 0;
  if (const auto program = find_program(programs, *batch)) return *program;
  fail_artifact("--batch " + std::to_string(*batch) + ": this artifact was built for " +
                describe_batches(programs) + "; compile it again for another");
}

std::vector<Chunk> plan_chunks(const std::vector<Program>& programs, int64_t rows,
                               std::optional<int64_t> batch) {
  const int64_t size = call_rows(programs, rows, batch);
  std::vector<Chunk> chunks;
  for (int64_t row = 0; row < rows; row += size) {
    const int64_t count = std::min(size, rows - row);
    const auto program = find_program(programs, count);
    if (!program) {
      fail_artifact("the input has " + std::to_string(rows) + " rows: in calls of " +
                    std::to_string(size) + " that leaves " + std::to_string(count) +
                    ", and this artifact was built for " + describe_batches(programs) +
                    "; pad the input or give another --batch");
    }
    chunks.push_back({row, count, *program});
  }
  return chunks;
}

int64_t plannable_rows(const std::vector<Program>& programs, int64_t rows,
                       std::optional<int64_t> batch) {
  const auto can_be_planned = [&](int64_t count) {
    const int64_t rest = count % call_rows(programs, count, batch);
    return rest == 0 || find_program(programs, rest).has_value();
  };
  while (!can_be_planned(rows))
    ++rows;  // no further than to the next multiple of the largest batch
  return rows;
}

std::vector<std::vector<int64_t>> plan_golden(const Program& program, std::optional<int64_t> batch,
                                              int64_t golden_rows) {
  const int64_t size =
      batch.value_or(std::clamp(golden_rows, program.min_batch, program.max_batch));
  std::vector<std::vector<int64_t>> calls;
  for (int64_t row = 0; row < golden_rows; row += size) {
    std::vector<int64_t> rows;
    for (int64_t i = row; i < row + size; ++i) rows.push_back(i % golden_rows);
    calls.push_back(rows);
  }
  return calls;
}

}  // namespace zoo
