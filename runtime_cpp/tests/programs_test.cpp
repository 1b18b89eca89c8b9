#include "artifact/programs.h"

#include <gtest/gtest.h>

#include <set>

#include "fixtures.h"

namespace zoo {
namespace {

Program program(int64_t min, int64_t max) { return {"model.ts", min, max, {}}; }

std::vector<int64_t> sizes(const std::vector<Chunk>& chunks) {
  std::vector<int64_t> list;
  for (const Chunk& chunk : chunks) list.push_back(chunk.rows);
  return list;
}

TEST(Programs, SelectsByBatch) {
  const std::vector<Program> programs = {program(1, 1), program(2, 64)};
  EXPECT_EQ(select_program(programs, {}), 0u);
  EXPECT_EQ(select_program(programs, 2), 1u);
  EXPECT_REFUSED(ExitCode::kBadArtifact, "batches 2 to 64", select_program(programs, 65));
}

TEST(Programs, TheFirstThatAnswersIsTaken) {
  const std::vector<Program> programs = {program(1, 1), program(1, 64), program(1, 8)};
  EXPECT_EQ(select_program(programs, 1), 0u);
  EXPECT_EQ(select_program(programs, 2), 1u);
  EXPECT_EQ(select_program(programs, 8), 1u);
}

TEST(Programs, CutsRowsIntoCalls) {
  EXPECT_EQ(sizes(plan_chunks({program(1, 4)}, 10, {})), (std::vector<int64_t>{4, 4, 2}));
  EXPECT_EQ(sizes(plan_chunks({program(1, 4)}, 3, {})), (std::vector<int64_t>{3}));
  EXPECT_EQ(sizes(plan_chunks({program(1, 4)}, 5, 2)), (std::vector<int64_t>{2, 2, 1}));
  EXPECT_EQ(sizes(plan_chunks({program(2, 2)}, 6, {})), (std::vector<int64_t>{2, 2, 2}));
  EXPECT_EQ(plan_chunks({program(1, 4)}, 10, {}).back().first_row, 8);
}

TEST(Programs, ShareTheRowsOfAnInput) {
  const auto plan = [](const std::vector<Program>& programs, int64_t rows) {
    std::vector<std::pair<int64_t, size_t>> calls;
    for (const Chunk& chunk : plan_chunks(programs, rows, {})) {
      calls.emplace_back(chunk.rows, chunk.program);
    }
    return calls;
  };
  using Calls = std::vector<std::pair<int64_t, size_t>>;
  const std::vector<Program> overlapping = {program(1, 1), program(1, 64)};
  EXPECT_EQ(plan(overlapping, 1), (Calls{{1, 0}}));
  EXPECT_EQ(plan(overlapping, 64), (Calls{{64, 1}}));
  EXPECT_EQ(plan(overlapping, 65), (Calls{{64, 1}, {1, 0}}));
  EXPECT_EQ(plan({program(1, 1), program(8, 8)}, 9), (Calls{{8, 1}, {1, 0}}));
  EXPECT_EQ(plan({program(32, 32), program(1, 4)}, 8), (Calls{{4, 1}, {4, 1}}));
}

TEST(Programs, RefusesARemainderThatNothingAnswers) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, "leaves 1", plan_chunks({program(2, 2)}, 5, {}));
  EXPECT_REFUSED(ExitCode::kBadArtifact, "leaves 1", plan_chunks({program(2, 4)}, 5, {}));
  EXPECT_REFUSED(ExitCode::kBadArtifact, "leaves 3", plan_chunks({program(8, 8)}, 3, {}));
  EXPECT_REFUSED(ExitCode::kBadArtifact, "--batch 9", plan_chunks({program(1, 8)}, 9, 9));
}

TEST(Programs, RowsThatFillUpACall) {
  EXPECT_EQ(plannable_rows({program(8, 8)}, 3, {}), 8);
  EXPECT_EQ(plannable_rows({program(8, 8)}, 8, {}), 8);
  EXPECT_EQ(plannable_rows({program(8, 8)}, 9, {}), 16);
  EXPECT_EQ(plannable_rows({program(1, 64)}, 65, {}), 65);
  EXPECT_EQ(plannable_rows({program(3, 4)}, 5, {}), 7);
  EXPECT_EQ(plannable_rows({program(4, 4), program(6, 6)}, 5, {}), 6);
  EXPECT_EQ(plannable_rows({program(1, 1), program(8, 8)}, 9, 8), 9);
  EXPECT_EQ(plannable_rows({program(8, 8), program(16, 16)}, 3, 16), 8);
  EXPECT_REFUSED(ExitCode::kBadArtifact, "--batch 9", plannable_rows({program(1, 8)}, 3, 9));
  for (int64_t rows = 1; rows < 70; ++rows) {
    const std::vector<Program> programs = {program(4, 4), program(6, 7), program(16, 16)};
    const int64_t filled = plannable_rows(programs, rows, {});
    int64_t planned = 0;
    for (const int64_t size : sizes(plan_chunks(programs, filled, {}))) planned += size;
    EXPECT_EQ(planned, filled);
  }
}

TEST(Programs, GoldenRowsWrapAround) {
  EXPECT_EQ(plan_golden(program(1, 64), {}, 16).size(), 1u);
  EXPECT_EQ(plan_golden(program(1, 1), {}, 16).size(), 16u);
  EXPECT_EQ(plan_golden(program(1, 1), {}, 23).size(), 23u);
  const auto wide = plan_golden(program(32, 32), {}, 16);
  ASSERT_EQ(wide.size(), 1u);
  EXPECT_EQ(wide[0].size(), 32u);
  EXPECT_EQ(wide[0][17], 1);
  const auto odd = plan_golden(program(5, 5), {}, 16);
  ASSERT_EQ(odd.size(), 4u);
  EXPECT_EQ(odd[3], (std::vector<int64_t>{15, 0, 1, 2, 3}));
  std::set<int64_t> rows;
  for (const auto& call : odd) rows.insert(call.begin(), call.end());
  EXPECT_EQ(rows.size(), 16u);
  const auto more = plan_golden(program(8, 8), {}, 23);
  ASSERT_EQ(more.size(), 3u);
  EXPECT_EQ(more[2], (std::vector<int64_t>{16, 17, 18, 19, 20, 21, 22, 0}));
}

}  // namespace
}  // namespace zoo
