// The rule of parity for the parts of an output: groups of channels, at the border and inside.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "parity_fixtures.h"

namespace zoo {
namespace {

using testing::bounds_of;
using testing::classifier;
using testing::view_of;

// One row of a map of 3 channels of 4 x 5 values: 14 lie at the border, 6 inside. The bound of the
// whole is 2 * 0.5 + 0.01, that of a part 2 * e_eager + 0.01.
class Parts : public ::testing::Test {
 protected:
  Parts() {
    manifest_ = classifier({{0.5, 0.01}});
    manifest_.outputs[0].shape = {3, 4, 5};
    manifest_.parity.outputs[0].groups = 3;
    manifest_.parity.outputs[0].has_classes = false;
  }
  OutputResult check_map() {
    GoldenOutput golden{view_of(oracle_), {}, view_of(e_eager_)};
    if (!positions_.empty()) golden.positions = view_of(positions_);
    return testing::check_rows(manifest_, map_, golden);
  }
  static size_t at(size_t channel, size_t row, size_t column) {
    return channel * 20 + row * 5 + column;
  }
  Manifest manifest_;
  std::vector<float> map_ = std::vector<float>(60, 0);
  std::vector<double> oracle_ = std::vector<double>(60, 0);
  std::vector<double> e_eager_ = std::vector<double>(6, 0.02);  // bound 0.05
  std::vector<int64_t> positions_;
};

TEST_F(Parts, AWrongBorderRowFailsWhereTheWholePasses) {
  for (size_t column = 0; column < 5; ++column) map_[at(1, 3, column)] = 0.1f;
  const OutputResult result = check_map();
  EXPECT_TRUE(result.rows[0].whole.within_bound());
  EXPECT_FALSE(result.passed());
  ASSERT_TRUE(result.rows[0].part);
  EXPECT_EQ(result.rows[0].part->first_channel, 1);
  EXPECT_EQ(result.rows[0].part->last_channel, 1);
  EXPECT_TRUE(result.rows[0].part->border);
  EXPECT_NEAR(result.rows[0].part->rmse, 0.1 * std::sqrt(5.0 / 14), 1e-8);
  EXPECT_DOUBLE_EQ(result.rows[0].part->bound, 0.05);
  EXPECT_TRUE(result.rows[0].part_is_worst());
  e_eager_[2] = 0.1;  // PyTorch itself errs as much there
  EXPECT_TRUE(check_map().passed());
}

TEST_F(Parts, EachValueIsOfItsPart) {
  for (size_t channel = 0; channel < 3; ++channel) {
    for (size_t row = 0; row < 4; ++row) {
      for (size_t column = 0; column < 5; ++column) {
        map_.assign(60, 0);
        map_[at(channel, row, column)] = 1;
        const OutputResult result = check_map();
        EXPECT_FALSE(result.passed());
        const bool border = row % 3 == 0 || column % 4 == 0;
        EXPECT_EQ(result.rows[0].part->border, border) << row << column;
        EXPECT_EQ(result.rows[0].part->first_channel, static_cast<int64_t>(channel));
      }
    }
  }
}

TEST_F(Parts, TheFloorIsThatOfTheRow) {
  e_eager_.assign(6, 0);
  map_[at(2, 1, 1)] = 0.02f;  // rmse 0.0082 of 6 values
  EXPECT_TRUE(check_map().passed());
  map_[at(2, 1, 1)] = 0.03f;  // rmse 0.0122
  EXPECT_FALSE(check_map().passed());
}

TEST_F(Parts, OnlyWhatIsKeptCounts) {
  positions_ = {
      0, 7, 59};  // the border and the interior of the first channel, and the border of the last
  manifest_.parity.outputs[0].positions = 3;
  oracle_.assign(3, 0);
  map_.assign(60, 1000);
  for (const int64_t each : positions_) map_[static_cast<size_t>(each)] = 0;
  EXPECT_TRUE(check_map().passed());
  EXPECT_EQ(check_map().max_abs, 0);
  map_[7] = 0.06f;
  const OutputResult result = check_map();
  EXPECT_TRUE(result.rows[0].whole.within_bound());
  EXPECT_FALSE(result.passed());
  EXPECT_FALSE(result.rows[0].part->border);
  EXPECT_NEAR(result.max_abs, 0.06, 1e-8);
  EXPECT_NEAR(result.rows[0].part->rmse, 0.06, 1e-8);  // of the one value that is kept of the part
}

TEST_F(Parts, ChannelsAreGroupedWhereThereAreMany) {
  manifest_.outputs[0].shape = {5, 4, 3};
  manifest_.parity.outputs[0].groups = 2;  // channels 0 to 2, and 3 to 4
  e_eager_.assign(4, 0.02);
  for (size_t channel = 0; channel < 5; ++channel) {
    map_.assign(60, 0);
    map_[channel * 12 + 4] = 1;  // in the interior
    const auto part = check_map().rows[0].part;
    EXPECT_EQ(part->first_channel, channel < 3 ? 0 : 3);
    EXPECT_EQ(part->last_channel, channel < 3 ? 2 : 4);
    EXPECT_FALSE(part->border);
  }
}

TEST_F(Parts, NaNAndExactPartsAreJudgedAsTheWholeIs) {
  e_eager_.assign(6, 0);
  bounds_of(manifest_)[0].floor = 0;
  EXPECT_TRUE(check_map().passed());
  map_[at(0, 1, 1)] = std::numeric_limits<float>::quiet_NaN();
  map_[at(1, 1, 1)] = 1;
  const OutputResult result = check_map();
  EXPECT_FALSE(result.passed());
  EXPECT_TRUE(std::isnan(result.rows[0].part->rmse));
  EXPECT_TRUE(std::isnan(result.max_abs));
}

TEST_F(Parts, AreThoseOfTheRowAtHand) {
  bounds_of(manifest_).push_back({0.5, 0.01});
  manifest_.parity.kinds.emplace_back("zeros");
  map_.resize(120, 0);
  oracle_.resize(120, 0);
  e_eager_.resize(12, 0);
  map_[60 + at(1, 1, 1)] = 0.1f;  // rmse 0.04: within the bound of the first row, not of the second
  map_[at(1, 1, 1)] = 0.1f;
  const OutputResult result = check_map();
  EXPECT_TRUE(result.rows[0].passed());
  EXPECT_FALSE(result.rows[1].passed());
  EXPECT_EQ(result.worst_row(), 1u);
}

}  // namespace
}  // namespace zoo
