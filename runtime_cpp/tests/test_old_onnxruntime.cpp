// Stands in for an ONNX Runtime that is older than zoo-run's engine: it has no table to give.
#include <cstdint>

namespace {

struct Base {
  const void* (*get_table)(uint32_t);
  const char* (*get_version)();
};
constexpr Base kBase = {[](uint32_t) -> const void* { return nullptr; }, [] { return "1.4.0"; }};

}  // namespace

extern "C" const Base* OrtGetApiBase() { return &kBase; }
