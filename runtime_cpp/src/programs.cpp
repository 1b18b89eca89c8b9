#include "programs.h"

#include <algorithm>

#include "error.h"

namespace zoo {

namespace {

bool answers(const Program& program, int64_t batch) {
  return program.min_batch <= batch && batch <= program.max_batch;
}

int64_t natural_batch(const Program& program, int64_t rows) {
  return std::clamp(rows, program.min_batch, program.max_batch);
}

}  // namespace

std::string describe_batches(const Program& program) {
  const std::string min = std::to_string(program.min_batch);
  return program.min_batch == program.max_batch
             ? "batch " + min
             : "batches " + min + " to " + std::to_string(program.max_batch);
}

size_t select_program(const std::vector<Program>& programs, std::optional<int64_t> batch) {
  if (!batch) return 0;
  std::string allowed;
  for (size_t i = 0; i < programs.size(); ++i) {
    if (answers(programs[i], *batch)) return i;
    allowed += (i == 0 ? "" : ", ") + describe_batches(programs[i]);
  }
  fail_artifact("--batch " + std::to_string(*batch) + ": this artifact was built for " + allowed +
                "; compile it again for another");
}

size_t select_program_for_rows(const std::vector<Program>& programs, int64_t rows) {
  size_t best = 0;
  for (size_t i = 0; i < programs.size(); ++i) {
    if (answers(programs[i], rows)) return i;
    if (programs[i].max_batch > programs[best].max_batch) best = i;
  }
  return best;
}

std::vector<Chunk> plan_chunks(const Program& program, int64_t rows, std::optional<int64_t> batch) {
  const int64_t size = batch.value_or(natural_batch(program, rows));
  const int64_t rest = rows % size;
  if (rest != 0 && !answers(program, rest)) {
    const std::string given = "the input has " + std::to_string(rows) + " rows: in calls of " +
                              std::to_string(size) + " that leaves " + std::to_string(rest);
    fail_artifact(given + ", and " + program.file + " answers " + describe_batches(program) +
                  "; pad the input or give another --batch");
  }
  std::vector<Chunk> chunks;
  for (int64_t row = 0; row < rows; row += size) {
    chunks.push_back({row, std::min(size, rows - row)});
  }
  return chunks;
}

std::vector<std::vector<int64_t>> plan_golden(const Program& program,
                                              std::optional<int64_t> batch) {
  const int64_t size = batch.value_or(natural_batch(program, kGoldenRows));
  std::vector<std::vector<int64_t>> calls;
  for (int64_t row = 0; row < kGoldenRows; row += size) {
    std::vector<int64_t> rows;
    for (int64_t i = row; i < row + size; ++i) rows.push_back(i % kGoldenRows);
    calls.push_back(rows);
  }
  return calls;
}

}  // namespace zoo
