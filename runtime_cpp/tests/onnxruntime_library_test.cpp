#include "engines/onnxruntime_library.h"

#include <gtest/gtest.h>

#include <vector>

#include "fixtures.h"

namespace zoo {
namespace {

// The refusal, without what every one of them ends with.
std::string refusal(const std::vector<const char*>& names) {
  std::string message;
  EXPECT_EQ(testing::exit_code_of([&] { onnxruntime::Library{names}; }, &message),
            ExitCode::kMachineLacks);
  const std::string remedy = "; pip install onnxruntime, then build zoo-run again";
  EXPECT_TRUE(message.ends_with(remedy)) << message;
  return message.substr(0, message.size() - remedy.size());
}

TEST(OnnxRuntimeLibrary, IsNamedWhereItIsMissing) {
  EXPECT_TRUE(refusal({"libzoo_none.so", "libzoo_neither.so"})
                  .starts_with("the artifact needs ONNX Runtime: libzoo_none.so: cannot open"));
}

TEST(OnnxRuntimeLibrary, IsTheFirstThatIsThere) {
  EXPECT_EQ(refusal({"libzoo_none.so", ZOO_TEST_OLD_ONNXRUNTIME}),
            "the artifact needs ONNX Runtime: 1.5 or newer is wanted, 1.4.0 was found");
}

TEST(OnnxRuntimeLibrary, IsNoOtherLibrary) {
  EXPECT_EQ(refusal({"libm.so.6"}),
            "the artifact needs ONNX Runtime: its library has no OrtGetApiBase");
}

}  // namespace
}  // namespace zoo
