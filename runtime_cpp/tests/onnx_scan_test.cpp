#include "artifact/onnx_scan.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace zoo {
namespace {

// The bytes of protocol buffers, by hand: a field that holds bytes, a field that holds a number.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string field(uint64_t number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string field(uint64_t number, uint64_t value) { return varint(number << 3) + varint(value); }

const std::string kTensor = field(1, 4) + field(2, 1) + field(9, std::string(16, 'w'));
const std::string kExternal = kTensor + field(13, field(1, "location") + field(2, "/etc/passwd"));
const std::string kElsewhere = kTensor + field(14, 1);

std::string model(const std::string& graph) { return field(1, 8) + field(7, graph); }

void scan(const std::string& bytes) { scan_onnx(testing::as_bytes(bytes), "m.onnx"); }

void expect_refused(const std::string& bytes, const std::string& part) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, part, scan(bytes));
}

TEST(OnnxScan, TakesAModelInOneFile) {
  scan(model(field(5, kTensor) + field(5, kTensor) + field(1, field(4, "Conv"))));
  scan(model(field(5, kTensor + field(14, 0))));
}

TEST(OnnxScan, FindsWeightsInOtherFilesWhereverATensorMayBe) {
  for (const std::string& tensor : {kExternal, kElsewhere}) {
    const std::string attribute = field(5, tensor);
    const std::string node = field(5, attribute);
    const std::string inner = field(1, field(5, field(6, field(5, tensor))));
    for (const std::string& graph :
         {field(5, tensor), field(15, field(1, tensor)), field(15, field(2, tensor)),
          field(1, node), field(1, field(5, field(10, tensor))), inner,
          field(1, field(5, field(11, field(5, tensor)))),
          field(1, field(5, field(22, field(1, tensor))))}) {
      expect_refused(model(graph), "m.onnx: keeps weights in other files");
    }
    expect_refused(model("") + field(25, field(7, node)), "other files");
    expect_refused(model("") + field(25, field(11, attribute)), "other files");
    expect_refused(model("") + field(20, field(1, field(5, tensor))), "other files");
  }
}

TEST(OnnxScan, RefusesWhatIsNone) {
  for (const std::string& bytes :
       {std::string(), std::string("<net></net>"), std::string("junk junk junk"), field(1, 8),
        std::string(20, '\xff'), field(7, 3), std::string("\x3b"), std::string("\0\0", 2)}) {
    expect_refused(bytes, "no ONNX file");
  }
}

TEST(OnnxScan, TruncatedAnywhereNeverCrashes) {
  const std::string whole = model(field(5, kTensor) + field(1, field(5, field(5, kTensor))));
  scan(whole);
  for (size_t length = 0; length < whole.size(); ++length) {
    expect_refused(whole.substr(0, length), "no ONNX file");
  }
}

TEST(OnnxScan, RefusesEndlessNesting) {
  std::string graph;
  for (int i = 0; i < 100; ++i) graph = field(1, field(5, field(6, graph)));
  expect_refused(model(graph), "deeper than 64");
}

}  // namespace
}  // namespace zoo
