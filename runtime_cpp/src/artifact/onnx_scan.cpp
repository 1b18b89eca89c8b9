#include "artifact/onnx_scan.h"

#include <array>
#include <cstdint>

#include "base/error.h"

namespace zoo {

namespace {

constexpr int kMaxDepth = 64;  // of messages in messages; loaders stop at 100

enum class Message { kModel, kGraph, kNode, kAttribute, kTensor, kSparse, kFunction, kTraining };

// The way to each tensor, as onnx.proto has it: which field of which message holds which other.
struct Step {
  Message from;
  uint64_t field;
  Message to;
};
constexpr std::array kSteps = {
    Step{Message::kModel, 7, Message::kGraph},          // graph
    Step{Message::kModel, 20, Message::kTraining},      // training_info
    Step{Message::kModel, 25, Message::kFunction},      // functions
    Step{Message::kTraining, 1, Message::kGraph},       // initialization
    Step{Message::kTraining, 2, Message::kGraph},       // algorithm
    Step{Message::kFunction, 7, Message::kNode},        // node
    Step{Message::kFunction, 11, Message::kAttribute},  // attribute_proto
    Step{Message::kGraph, 1, Message::kNode},           // node
    Step{Message::kGraph, 5, Message::kTensor},         // initializer
    Step{Message::kGraph, 15, Message::kSparse},        // sparse_initializer
    Step{Message::kNode, 5, Message::kAttribute},       // attribute
    Step{Message::kAttribute, 5, Message::kTensor},     // t
    Step{Message::kAttribute, 6, Message::kGraph},      // g
    Step{Message::kAttribute, 10, Message::kTensor},    // tensors
    Step{Message::kAttribute, 11, Message::kGraph},     // graphs
    Step{Message::kAttribute, 22, Message::kSparse},    // sparse_tensor
    Step{Message::kAttribute, 23, Message::kSparse},    // sparse_tensors
    Step{Message::kSparse, 1, Message::kTensor},        // values
    Step{Message::kSparse, 2, Message::kTensor},        // indices
};
constexpr uint64_t kModelGraph = 7;
constexpr uint64_t kTensorExternalData = 13;
constexpr uint64_t kTensorDataLocation = 14;

enum class Wire : uint64_t { kVarint = 0, kEight = 1, kBytes = 2, kFour = 5 };

class Scan {
 public:
  explicit Scan(const std::string& name) : name_(name) {}

  void message(Message kind, std::span<const std::byte> bytes, int depth) const {
    if (depth > kMaxDepth) fail("nests deeper than " + std::to_string(kMaxDepth) + " levels");
    bool has_graph = false;
    while (!bytes.empty()) {
      const uint64_t tag = take_varint(bytes);
      const uint64_t field = tag >> 3;
      const auto wire = static_cast<Wire>(tag & 7);
      if (field == 0) fail("is damaged or no ONNX file");
      if (kind == Message::kTensor) check_tensor_field(field, wire, bytes);
      has_graph = has_graph || (field == kModelGraph && wire == Wire::kBytes);
      const std::span<const std::byte> value = take_value(wire, bytes);
      if (wire != Wire::kBytes) continue;
      for (const Step& step : kSteps) {
        if (step.from == kind && step.field == field) message(step.to, value, depth + 1);
      }
    }
    if (kind == Message::kModel && !has_graph) fail("is damaged or no ONNX file");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { fail_artifact(name_ + ": " + what); }

  void check_tensor_field(uint64_t field, Wire wire, std::span<const std::byte> rest) const {
    const bool elsewhere =
        field == kTensorExternalData ||
        (field == kTensorDataLocation && wire == Wire::kVarint && take_varint(rest) != 0);
    if (elsewhere) fail("keeps weights in other files, one file only is allowed; export it again");
  }

  uint64_t take_varint(std::span<const std::byte>& bytes) const {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      const auto byte = std::to_integer<uint64_t>(bytes.front());
      bytes = bytes.subspan(1);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail("is damaged or no ONNX file");
  }

  // The value of one field; empty for a varint, which is only skipped.
  std::span<const std::byte> take_value(Wire wire, std::span<const std::byte>& bytes) const {
    uint64_t size = 0;
    switch (wire) {
      case Wire::kVarint:
        (void)take_varint(bytes);
        return {};
      case Wire::kEight:
        size = 8;
        break;
      case Wire::kFour:
        size = 4;
        break;
      case Wire::kBytes:
        size = take_varint(bytes);
        break;
      default:  // groups: no ONNX file has one
        fail("is damaged or no ONNX file");
    }
    if (size > bytes.size()) fail("is damaged or no ONNX file");
    const std::span<const std::byte> value = bytes.first(static_cast<size_t>(size));
    bytes = bytes.subspan(static_cast<size_t>(size));
    return value;
  }

  const std::string& name_;
};

}  // namespace

void scan_onnx(std::span<const std::byte> bytes, const std::string& name) {
  Scan(name).message(Message::kModel, bytes, 0);
}

}  // namespace zoo
