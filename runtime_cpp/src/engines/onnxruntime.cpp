#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/onnx_scan.h"
#include "base/error.h"
#include "engines/engine.h"
#include "engines/onnxruntime_library.h"

namespace zoo {

namespace {

using namespace onnxruntime;

constexpr size_t kShownBytes = 300;

// Without the place in ONNX Runtime's sources that a message may name: a path with its line, then
// the whole type of a function and what is wrong as code. They are longer than what is said.
std::string without_place(const std::string& what) {
  const size_t inside = what.find("/onnxruntime/core/");
  if (inside == std::string::npos) return what;
  const size_t start = what.rfind(' ', inside) + 1;  // 0 where there is none
  for (const std::string_view last : {"was false. ", ") "}) {
    const size_t end = what.find(last, inside);
    if (end != std::string::npos) return what.substr(0, start) + what.substr(end + last.size());
  }
  return what;
}

template <typename Work>
auto with_onnxruntime_errors(const std::string& doing, Work&& work) {
  try {
    return work();
  } catch (const Error& error) {
    std::string reason = without_place(error.what());
    while (reason.ends_with('\n')) reason.pop_back();
    fail_artifact(doing + ": " + reason.substr(0, kShownBytes));
  }
}

// Opened for the first ONNX artifact: the file beside which this zoo-run was built, else what the
// system has under the library's own name.
const Library& library() {
  static const std::array names = {ZOO_ONNXRUNTIME_FILE, "libonnxruntime.so.1"};
  static const Library opened(names);
  return opened;
}

// An input or an output, of the model or as the manifest says.
struct Port {
  std::string name;
  int type = 0;                // ONNXTensorElementDataType; 0: no tensor
  std::string batch;           // "4", "1:8"; empty: any
  bool has_shape = false;      // a model need not say it
  std::vector<int64_t> shape;  // of one sample; -1: any
};

std::string type_name(int type) {
  constexpr std::array kNames = {"no tensor", "float32", "uint8",  "int8", "uint16",  "int16",
                                 "int32",     "int64",   "string", "bool", "float16", "float64"};
  const auto place = static_cast<size_t>(type);
  return place < kNames.size() ? kNames[place] : "of type " + std::to_string(type);
}

// "float32 1:8x3x32x32"; "?" is what the model leaves open.
std::string describe(const Port& port) {
  std::string text = type_name(port.type);
  if (!port.has_shape) return text;
  text += " " + (port.batch.empty() ? "?" : port.batch);
  for (const int64_t extent : port.shape) {
    text += "x" + (extent < 0 ? "?" : std::to_string(extent));
  }
  return text;
}

void read_tensor(const Library& ort, const TensorInfo* info, Port& port) {
  ort.call(kGetTensorElementType, info, &port.type);
  size_t rank = 0;
  ort.call(kGetDimensionsCount, info, &rank);
  if (rank == 0) return;
  port.has_shape = true;
  port.shape.resize(rank);
  ort.call(kGetDimensions, info, port.shape.data(), rank);
  if (port.shape.front() >= 0) port.batch = std::to_string(port.shape.front());
  port.shape.erase(port.shape.begin());
}

// The inputs or the outputs of a model, by the functions for the one or the other.
std::vector<Port> read_ports(const Session* session, auto get_count, auto get_name, auto get_type) {
  const Library& ort = library();
  size_t count = 0;
  ort.call(get_count, session, &count);
  Allocator* allocator = nullptr;  // the library's own
  ort.call(kGetAllocatorWithDefaultOptions, &allocator);
  std::vector<Port> ports(count);
  for (size_t i = 0; i < count; ++i) {
    char* name = nullptr;
    ort.call(get_name, session, i, allocator, &name);
    ports[i].name = name;
    ort.call(kAllocatorFree, allocator, name);
    const Owned<TypeInfo> type = ort.make<TypeInfo>(get_type, session, i);
    const TensorInfo* info = nullptr;  // a part of `type`
    ort.call(kCastTypeInfoToTensorInfo, type.get(), &info);
    if (info != nullptr) read_tensor(ort, info, ports[i]);
  }
  return ports;
}

std::string batch_text(const Program& program) {
  const std::string least = std::to_string(program.min_batch);
  if (program.min_batch == program.max_batch) return least;
  return least + ":" + std::to_string(program.max_batch);
}

bool fits(const Port& port, const Port& wanted) {
  if (port.type != wanted.type) return false;
  if (!port.has_shape) return true;
  const auto agrees = [](int64_t extent, int64_t other) { return extent < 0 || extent == other; };
  return (port.batch.empty() || port.batch == wanted.batch) &&
         std::ranges::equal(port.shape, wanted.shape, agrees);
}

void check_port(const std::vector<Port>& ports, const Port& wanted, const std::string& kind) {
  const auto port = std::ranges::find(ports, wanted.name, &Port::name);
  if (port == ports.end()) {
    fail_artifact("the model has no " + kind + " '" + wanted.name + "'; rebuild the artifact");
  }
  if (fits(*port, wanted)) return;
  fail_artifact("the model's " + kind + " '" + wanted.name + "' is " + describe(*port) +
                ", the manifest says " + describe(wanted) + "; rebuild the artifact");
}

void check_signature(const Session* session, const LoadRequest& request) {
  const std::vector<Port> inputs =
      read_ports(session, kSessionGetInputCount, kSessionGetInputName, kSessionGetInputTypeInfo);
  const std::vector<Port> outputs =
      read_ports(session, kSessionGetOutputCount, kSessionGetOutputName, kSessionGetOutputTypeInfo);
  const Manifest& manifest = request.manifest;
  if (inputs.size() != 1 || outputs.size() != manifest.outputs.size()) {
    fail_artifact("the model has " + std::to_string(inputs.size()) + " inputs and " +
                  std::to_string(outputs.size()) + " outputs, the manifest says 1 and " +
                  std::to_string(manifest.outputs.size()) + "; rebuild the artifact");
  }
  const std::string batch = batch_text(request.program);
  const Input& input = manifest.input;
  check_port(inputs, {input.name, input.bytes ? kUint8 : kFloat32, batch, true, input.shape},
             "input");
  for (const Output& output : manifest.outputs) {
    check_port(outputs, {output.name, kFloat32, batch, true, output.shape}, "output");
  }
}

// As compile/backends/onnx_session.py has it, some of it by the library's defaults: both compute
// the same. It says nothing on stderr: what fails, a call returns.
Owned<SessionOptions> settings(const LoadRequest& request) {
  const Library& ort = library();
  // Each caller computes too; the others are threads of one pool for all callers.
  const int threads = request.callers * (request.threads - 1) + 1;
  Owned<SessionOptions> options = ort.make<SessionOptions>(kCreateSessionOptions);
  ort.call(kSetIntraOpNumThreads, options.get(), threads);
  ort.call(kSetSessionExecutionMode, options.get(), kSequential);
  ort.call(kSetSessionGraphOptimizationLevel, options.get(), kAllOptimised);
  ort.call(kSetSessionLogSeverityLevel, options.get(), kFatal);
  // Else a few bytes at the start could make it another format, which nobody scanned.
  ort.call(kAddSessionConfigEntry, options.get(), "session.load_model_format", "ONNX");
  return options;
}

class OnnxRuntimeEngine final : public Engine {
 public:
  explicit OnnxRuntimeEngine(const LoadRequest& request)
      : file_(request.program.file),
        input_type_(request.manifest.input.bytes ? kUint8 : kFloat32),
        input_name_(request.manifest.input.name.c_str()),
        env_(library().make<Env>(kCreateEnv, kFatal, "zoo-run")),
        memory_(
            library().make<MemoryInfo>(kCreateCpuMemoryInfo, kDeviceAllocator, kDefaultMemory)) {
    const SealedView view(request.file);
    session_ = library().make<Session>(kCreateSessionFromArray, env_.get(), view.bytes().data(),
                                       view.bytes().size(), settings(request).get());
    check_signature(session_.get(), request);
    for (const Output& output : request.manifest.outputs) {
      output_names_.push_back(output.name.c_str());
      shapes_.push_back(with_rows(0, output.shape));
    }
  }

  // All tensors are used in place. The outputs are new ones each time: the last ones belong to
  // whoever asked for them.
  std::vector<at::Tensor> run(const at::Tensor& input) override {
    std::vector<at::Tensor> outputs;
    with_onnxruntime_errors(file_ + ": ONNX Runtime cannot run it", [&] {
      const Owned<Value> given = as_value(input, input_type_);
      std::vector<Owned<Value>> held;
      std::vector<Value*> places;
      for (std::vector<int64_t> shape : shapes_) {
        shape.front() = input.size(0);
        outputs.push_back(at::empty(shape));
        held.push_back(as_value(outputs.back(), kFloat32));
        places.push_back(held.back().get());
      }
      const Value* inputs[] = {given.get()};
      library().call(kRun, session_.get(), nullptr, &input_name_, inputs, 1, output_names_.data(),
                     output_names_.size(), places.data());
    });
    return outputs;
  }

  std::string runtime() const override { return "ONNX Runtime " + library().version(); }

  bool is_shared() const override { return true; }

 private:
  Owned<Value> as_value(const at::Tensor& tensor, int type) const {
    return library().make<Value>(kCreateTensorWithDataAsOrtValue, memory_.get(),
                                 tensor.mutable_data_ptr(), tensor.nbytes(), tensor.sizes().data(),
                                 tensor.sizes().size(), type);
  }

  std::string file_;
  int input_type_;
  const char* input_name_;                    // the manifest's own
  std::vector<const char*> output_names_;     // the same
  std::vector<std::vector<int64_t>> shapes_;  // of the outputs, after a place for the rows
  Owned<Env> env_;
  Owned<MemoryInfo> memory_;
  Owned<Session> session_;
};

}  // namespace

std::unique_ptr<Engine> load_onnxruntime(const LoadRequest& request) {
  if (request.manifest.device != "cpu") {
    fail_artifact("ONNX Runtime programs run on cpu, the artifact is for " +
                  request.manifest.device + ": compile it for cpu");
  }
  scan_onnx(SealedView(request.file).bytes(), request.program.file);
  return with_onnxruntime_errors(request.program.file + ": ONNX Runtime cannot load it",
                                 [&] { return std::make_unique<OnnxRuntimeEngine>(request); });
}

}  // namespace zoo
