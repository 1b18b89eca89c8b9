#include "engines/openvino_module.h"

#include <ATen/Functions.h>

#include <array>
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
          {ov::inference_num_threads.name(), request.threads},
          {ov::num_streams.name(), ov::streams::Num(1)}};
}

std::shared_ptr<ov::Model> read_model(ov::Core& core, const OpenVinoRequest& request) {
  const auto* start = reinterpret_cast<const char*>(request.model.data());
  return core.read_model(std::string(start, request.model.size()), ov::Tensor());
}

void check_signature(const ov::Model& model, ov::element::Type input) {
  if (model.inputs().size() != 1 || model.outputs().size() != 1) {
    fail_artifact("the model has " + std::to_string(model.inputs().size()) + " inputs and " +
                  std::to_string(model.outputs().size()) + " outputs, one of each is wanted");
  }
  const auto check = [](const ov::Output<const ov::Node>& port, ov::element::Type wanted) {
    if (port.get_element_type() == wanted) return;
    fail_artifact("the model has the type " + port.get_element_type().to_string() +
                  " where the manifest says " + wanted.to_string() + "; rebuild the artifact");
  };
  check(model.input(), input);
  check(model.output(), ov::element::f32);
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
      : file_(request.file),
        input_type_(request.byte_input ? ov::element::u8 : ov::element::f32),
        output_shape_(1, 0) {
    output_shape_.insert(output_shape_.end(), request.output_shape.begin(),
                         request.output_shape.end());
    const std::shared_ptr<ov::Model> model = read_model(core_, request);
    check_signature(*model, input_type_);
    compiled_ = core_.compile_model(model, kDevice, settings(request));
    check_precision(compiled_, request.precision);
    infer_ = compiled_.create_infer_request();
  }

  // Both tensors are used in place. The output is a new one each time: the last one belongs to
  // whoever asked for it.
  at::Tensor run(const at::Tensor& input) override {
    output_shape_.front() = input.size(0);
    at::Tensor output = at::empty(output_shape_);
    with_openvino_errors(file_ + ": OpenVINO cannot run it", [&] {
      infer_.set_input_tensor(view(input, input_type_));
      infer_.set_output_tensor(view(output, ov::element::f32));
      infer_.infer();
    });
    return output;
  }

  std::string runtime() const override {
    const std::string build = ov::get_openvino_version().buildNumber;  // 2026.4.1-123-abc
    return "OpenVINO " + build.substr(0, build.find('-'));
  }

 private:
  static ov::Tensor view(const at::Tensor& tensor, ov::element::Type type) {
    const ov::Shape shape(tensor.sizes().begin(), tensor.sizes().end());
    return {type, shape, tensor.mutable_data_ptr()};
  }

  std::string file_;
  ov::element::Type input_type_;
  std::vector<int64_t> output_shape_;  // the rows of a call first
  ov::Core core_;
  ov::CompiledModel compiled_;
  ov::InferRequest infer_;
};

}  // namespace

}  // namespace zoo

extern "C" void zoo_load_openvino(const zoo::OpenVinoRequest& request,
                                  std::unique_ptr<zoo::Engine>& engine) {
  zoo::with_openvino_errors(std::string(request.file) + ": OpenVINO cannot load it",
                            [&] { engine = std::make_unique<zoo::OpenVinoEngine>(request); });
}
