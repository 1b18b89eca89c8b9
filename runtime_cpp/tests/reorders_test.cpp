#include "measure/reorders.h"

#include <gtest/gtest.h>

#include <string>

namespace zoo {
namespace {

std::string reorder(const std::string& shape) {
  return "onednn_verbose,v1,primitive,exec,cpu,reorder,simple:any,undef,src:f32::blocked:Acdb24a::"
         "f0 "
         "dst:f32::blocked:Acdb32a::f0,attr-scratchpad:user,," +
         shape + ",6.1\n";
}

TEST(Reorders, AreCountedWhereTheShapeIsThatOfAWeight) {
  const std::vector<std::vector<int64_t>> weights = {{64, 3, 7, 7}, {10, 512}, {64}};
  EXPECT_EQ(count_weight_reorders(reorder("64x3x7x7") + reorder("10x512"), weights), 2);
  EXPECT_EQ(count_weight_reorders(reorder("3x64x7x7"), weights), 1) << "of a transposed layer";
  EXPECT_EQ(count_weight_reorders(reorder("4x16x3x7x7"), weights), 1) << "of four groups";
  EXPECT_EQ(count_weight_reorders(reorder("1x3x224x224") + reorder("64"), weights), 0);
}

TEST(Reorders, OtherLinesAreNone) {
  const std::vector<std::vector<int64_t>> weights = {{10, 512}};
  std::string create = reorder("10x512");
  create.replace(create.find("exec"), 4, "create:cache_miss");
  std::string other = reorder("10x512");
  other.replace(other.find("reorder"), 7, "matmul");
  const std::string text = "load 3.1 ms,exec,reorder,10x512,1\n";
  EXPECT_EQ(count_weight_reorders(create + other + text + reorder("10x") + "\n", weights), 0);
  EXPECT_EQ(count_weight_reorders("", weights), 0);
}

}  // namespace
}  // namespace zoo
