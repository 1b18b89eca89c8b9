#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "artifact/manifest.h"

namespace zoo {

// One call: some rows of the input, and the index of the program that takes them.
struct Chunk {
  int64_t first_row = 0;
  int64_t rows = 0;
  size_t program = 0;
};

// The index of the first program that answers `batch`: ranges may overlap. Without a batch the
// first of all. Fails with exit code 3 where none does, naming what they answer.
[[nodiscard]] size_t select_program(const std::vector<Program>& programs,
                                    std::optional<int64_t> batch);

// How `rows` rows are cut into calls of `batch`. Without a batch: into one call where a program
// answers it, else into as large ones as there are. What remains must be a batch that some program
// answers; no row is ever made up. Fails with exit code 3.
[[nodiscard]] std::vector<Chunk> plan_chunks(const std::vector<Program>& programs, int64_t rows,
                                             std::optional<int64_t> batch);

// The least number of rows, `rows` or more, that plan_chunks() can plan: where they may be filled
// up. Fails with exit code 3.
[[nodiscard]] int64_t plannable_rows(const std::vector<Program>& programs, int64_t rows,
                                     std::optional<int64_t> batch);

// The golden rows for each call of a check, wrapping around, until every row has been run:
// docs/artifact.md, golden.safetensors.
[[nodiscard]] std::vector<std::vector<int64_t>> plan_golden(const Program& program,
                                                            std::optional<int64_t> batch,
                                                            int64_t golden_rows);

[[nodiscard]] std::string describe_batches(const Program& program);
// "batch 1, batches 2 to 64"
[[nodiscard]] std::string describe_batches(const std::vector<Program>& programs);
// "model.ts", "model.pt2:entry"
[[nodiscard]] std::string describe_program(const Program& program);

}  // namespace zoo
