#include "engines/openvino_module.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <openvino/core/version.hpp>
#include <openvino/openvino.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"

namespace zoo {

namespace {

constexpr const char* kDevice = "CPU";
constexpr size_t kShownBytes = 200;

// OpenVINO's messages are many lines, the first of which say where in its sources they arose.
[[noreturn]] void fail_from_openvino(const std::string& doing, const std::string& what) {
  std::istringstream lines(what);
  std::string reason;
  for (std::string line; std::getline(lines, line);) {
    const bool place = line.starts_with("Exception from ") || line.starts_with("Check '") ||
                       line.starts_with("FrontEnd API failed");
    if (!place && !line.empty()) reason += (reason.empty() ? "" : " ") + line;
  }
  fail_artifact(doing + ": " +
                (reason.empty() ? "OpenVINO does not say why" : reason.substr(0, kShownBytes)));
}

template <typename Work>
auto with_openvino_errors(const std::string& doing, Work&& work) {
  try {
    return work();
  } catch (const ov::Exception& error) {
    fail_from_openvino(doing, error.what());
  }
}

// What the convolutions must be computed in. The layers of an int8 model that are not quantised
// stay float32.
ov::element::Type wanted_precision(std::string_view precision) {
  struct Row {
    std::string_view name;
    ov::element::Type_t type;
  };
  constexpr std::array kRows = {Row{"fp32", ov::element::f32}, Row{"int8", ov::element::f32},
                                Row{"bf16", ov::element::bf16}, Row{"fp16", ov::element::f16}};
  for (const Row& row : kRows) {
    if (row.name == precision) return row.type;
  }
  fail_artifact("OpenVINO runs fp32, bf16, fp16 and int8, the artifact is " +
                std::string(precision) + ": compile it for one of those");
}

ov::AnyMap settings(const OpenVinoRequest& request) {
  return {{ov::hint::performance_mode.name(), ov::hint::PerformanceMode::LATENCY},
          {ov::hint::inference_precision.name(), wanted_precision(request.precision)},
          {ov::inference_num_threads.name(), request.callers * request.threads},
          {ov::num_streams.name(), ov::streams::Num(request.callers)}};
}

std::shared_ptr<ov::Model> read_model(ov::Core& core, const OpenVinoRequest& request) {
  const auto* start = reinterpret_cast<const char*>(request.model.data());
  return core.read_model(std::string(start, request.model.size()), ov::Tensor());
}

// Which of the model's outputs each of the manifest's is. Two outputs that are one tensor share
// their names: each gets a port of its own.
std::vector<size_t> find_ports(const ov::Model& model, std::span<const Output> outputs) {
  std::vector<size_t> ports;
  for (const Output& output : outputs) {
    size_t port = 0;
    while (port < model.outputs().size() &&
           (!model.output(port).get_names().contains(output.name) ||
            std::ranges::count(ports, port) > 0)) {
      ++port;
    }
    if (port == model.outputs().size()) {
      fail_artifact("the model has no output '" + output.name + "'; rebuild the artifact");
    }
    ports.push_back(port);
  }
  return ports;
}

void check_signature(const ov::Model& model, ov::element::Type input, size_t num_outputs) {
  if (model.inputs().size() != 1 || model.outputs().size() != num_outputs) {
    fail_artifact("the model has " + std::to_string(model.inputs().size()) + " inputs and " +
                  std::to_string(model.outputs().size()) + " outputs, the manifest says 1 and " +
                  std::to_string(num_outputs) + "; rebuild the artifact");
  }
  const auto check = [](const ov::Output<const ov::Node>& port, ov::element::Type wanted) {
    if (port.get_element_type() == wanted) return;
    fail_artifact("the model has the type " + port.get_element_type().to_string() +
                  " where the manifest says " + wanted.to_string() + "; rebuild the artifact");
  };
  check(model.input(), input);
  for (const auto& port : model.outputs()) check(port, ov::element::f32);
}

// A CPU without bf16 or fp16 is not an error to OpenVINO: it takes another precision silently.
void check_precision(const ov::CompiledModel& compiled, std::string_view precision) {
  const ov::element::Type wanted = wanted_precision(precision);
  const ov::element::Type used = compiled.get_property(ov::hint::inference_precision);
  if (used == wanted) return;
  fail_artifact("the artifact computes in " + wanted.to_string() + ", OpenVINO would use " +
                used.to_string() + " on this CPU: compile it for another precision");
}

class OpenVinoEngine final : public Engine {
 public:
  explicit OpenVinoEngine(const OpenVinoRequest& request)
      : file_(request.file), input_type_(request.byte_input ? ov::element::u8 : ov::element::f32) {
    for (const Output& output : request.outputs) {
      shapes_.push_back({0});
      shapes_.back().insert(shapes_.back().end(), output.shape.begin(), output.shape.end());
    }
    const std::shared_ptr<ov::Model> model = read_model(core_, request);
    check_signature(*model, input_type_, shapes_.size());
    ports_ = find_ports(*model, request.outputs);
    compiled_ = core_.compile_model(model, kDevice, settings(request));
    check_precision(compiled_, request.precision);
    for (int i = 0; i < request.callers; ++i) {
      idle_.push_back(compiled_.create_infer_request());
    }
  }

  // All tensors are used in place. The outputs are new ones each time: the last ones belong to
  // whoever asked for them.
  std::vector<at::Tensor> run(const at::Tensor& input) override {
    std::vector<at::Tensor> outputs;
    with_openvino_errors(file_ + ": OpenVINO cannot run it", [&] {
      ov::InferRequest infer = take_request();
      infer.set_input_tensor(view(input, input_type_));
      for (size_t i = 0; i < shapes_.size(); ++i) {
        std::vector<int64_t> shape = shapes_[i];
        shape.front() = input.size(0);
        outputs.push_back(at::empty(shape));
        infer.set_output_tensor(ports_[i], view(outputs.back(), ov::element::f32));
      }
      infer.infer();
      const std::lock_guard lock(mutex_);
      idle_.push_back(std::move(infer));
    });
    return outputs;
  }

  bool is_shared() const override { return true; }

  std::string runtime() const override {
    const std::string build = ov::get_openvino_version().buildNumber;  // 2026.4.1-123-abc
    return "OpenVINO " + build.substr(0, build.find('-'));
  }

 private:
  static ov::Tensor view(const at::Tensor& tensor, ov::element::Type type) {
    const ov::Shape shape(tensor.sizes().begin(), tensor.sizes().end());
    return {type, shape, tensor.mutable_data_ptr()};
  }

  // One for this caller. There are as many as callers; one whose call failed does not come back.
  ov::InferRequest take_request() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return compiled_.create_infer_request();
    ov::InferRequest infer = std::move(idle_.back());
    idle_.pop_back();
    return infer;
  }

  std::string file_;
  ov::element::Type input_type_;
  std::vector<std::vector<int64_t>> shapes_;  // of the outputs, after a place for the rows
  std::vector<size_t> ports_;                 // of the outputs in the model
  ov::Core core_;
  ov::CompiledModel compiled_;
  std::mutex mutex_;
  std::vector<ov::InferRequest> idle_;
};

}  // namespace

}  // namespace zoo

extern "C" void zoo_load_openvino(const zoo::OpenVinoRequest& request,
                                  std::unique_ptr<zoo::Engine>& engine) {
  zoo::with_openvino_errors(std::string(request.file) + ": OpenVINO cannot load it",
                            [&] { engine = std::make_unique<zoo::OpenVinoEngine>(request); });
}
