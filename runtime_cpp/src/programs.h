#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "manifest.h"

namespace zoo {

struct Chunk {
  int64_t first_row = 0;
  int64_t rows = 0;
};

// The index of the program that answers `batch`; without a batch the first program. Fails with
// exit code 3 where none does, naming what they answer.
[[nodiscard]] size_t select_program(const std::vector<Program>& programs,
                                    std::optional<int64_t> batch);

// The index of the program for `rows` rows: the one that takes them in a single call, else the one
// that takes the most.
[[nodiscard]] size_t select_program_for_rows(const std::vector<Program>& programs, int64_t rows);

// How `rows` rows are cut into calls of `batch`, or of as many as the program takes. A remainder
// must be a batch that the program answers too; no row is ever made up.
[[nodiscard]] std::vector<Chunk> plan_chunks(const Program& program, int64_t rows,
                                             std::optional<int64_t> batch);

// The rows of golden.pt for each call of a check, wrapping around, until every row has been run:
// docs/artifact.md, golden.pt.
[[nodiscard]] std::vector<std::vector<int64_t>> plan_golden(const Program& program,
                                                            std::optional<int64_t> batch);

[[nodiscard]] std::string describe_batches(const Program& program);

}  // namespace zoo
