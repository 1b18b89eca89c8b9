#include "run_fixtures.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

#include "artifact/manifest.h"
#include "artifact/npy.h"
#include "artifact/safetensors.h"
#include "base/file_descriptor.h"
#include "test_class.h"
#include "torch/tensors.h"

namespace zoo::testing {

namespace {

constexpr int kCreate = O_WRONLY | O_CREAT | O_CLOEXEC;

pid_t start(const std::vector<std::string>& arguments, const TempFolder& folder) {
  const FileDescriptor out(::open((folder / "out").c_str(), kCreate, 0600));
  const FileDescriptor err(::open((folder / "err").c_str(), kCreate, 0600));
  return start_zoo(arguments, out.get(), err.get(), folder / "tmp");
}

Outcome finish(pid_t child, const TempFolder& folder) {
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder / "tmp")) << "temporary files were left behind";
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_file(folder / "out"),
          read_file(folder / "err")};
}

// Lets a body call the test libraries' operators by their bare names.
struct OperatorResolver final : torch::jit::Resolver {
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(
      const std::string& name, torch::jit::GraphFunction& function,
      const torch::jit::SourceRange& place) override {
    for (const char* operator_name : {"zoo_test::project", "zoo_test_class_operator::execute"}) {
      const c10::Symbol symbol = c10::Symbol::fromQualString(operator_name);
      if (name == symbol.toUnqualString()) {
        return std::make_shared<torch::jit::BuiltinFunction>(symbol, std::nullopt);
      }
    }
    return torch::jit::nativeResolver()->resolveValue(name, function, place);
  }
};

// The golden rows, (16 + hostile, 1, 2, 2) float32 or (16 + hostile, 2, 2, 1) uint8; of the
// hostile ones the first is zeros.
at::Tensor make_input(bool bytes, int64_t hostile) {
  const int64_t rows = kOrdinaryRows + hostile;
  at::Tensor x =
      bytes ? (at::arange(rows * 4) * 37).remainder(256).to(at::kByte).reshape({-1, 2, 2, 1})
            : at::linspace(-2, 3, rows * 4).sin().reshape({-1, 1, 2, 2});
  if (hostile > 0) x[kOrdinaryRows].zero_();
  return x;
}

TensorView view_of(const std::string& name, const at::Tensor& tensor) {
  const auto* start = static_cast<const std::byte*>(tensor.const_data_ptr());
  const char* dtype = tensor.scalar_type() == at::kByte     ? "U8"
                      : tensor.scalar_type() == at::kDouble ? "F64"
                      : tensor.scalar_type() == at::kLong   ? "I64"
                                                            : "F32";
  return {name, dtype, tensor.sizes().vec(), {start, tensor.nbytes()}};
}

// Describes one output more, and adds its golden tensors. Every part has the bound of the whole.
void add_more(const TinyOutput& output, const at::Tensor& first, Json& manifest,
              std::vector<std::pair<std::string, at::Tensor>>& golden) {
  const int64_t rows = first.size(0);
  add_output(manifest, output.name, output.shape);
  Json& proof = manifest["parity"]["outputs"].back();
  at::Tensor oracle = output.of(first).reshape(with_rows(rows, output.shape)).contiguous();
  if (!output.positions.empty()) {
    const at::Tensor positions = at::tensor(output.positions, at::kLong);
    proof["positions"] = output.positions.size();
    oracle = oracle.flatten(1).index_select(1, positions);
    golden.emplace_back("positions/" + output.name, positions);
  }
  golden.emplace_back("oracle/" + output.name, oracle);
  if (output.shape.size() < 2) return;
  at::Tensor e_eager = at::empty({rows, output.shape[0], 2}, at::kDouble);
  for (int64_t row = 0; row < rows; ++row) {
    e_eager[row].fill_(proof["bounds"][static_cast<size_t>(row)]["e_eager"].get<double>());
  }
  golden.emplace_back("e_eager/" + output.name, e_eager);
}

}  // namespace

pid_t start_zoo(const std::vector<std::string>& arguments, int out, int err,
                const std::string& temporary) {
  std::vector<std::string> owned = {ZOO_RUN};
  owned.insert(owned.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : owned) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::dup2(out, 1);
  ::dup2(err, 2);
  ::setenv("PATH", "", 1);
  ::setenv("TMPDIR", temporary.c_str(), 1);
  ::execv(ZOO_RUN, argv.data());
  ::_exit(127);
}

Outcome run_zoo(const std::vector<std::string>& arguments) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "tmp");
  return finish(start(arguments, folder), folder);
}

Outcome signal_zoo(const std::vector<std::string>& arguments, int signal_number) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "tmp");
  const pid_t child = start(arguments, folder);
  for (int i = 0; i < 3000 && std::filesystem::is_empty(folder / "tmp"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ::kill(child, signal_number);
  return finish(child, folder);
}

void expect_refusal(const std::vector<std::string>& arguments, int exit_code,
                    const std::string& part) {
  const Outcome outcome = run_zoo(arguments);
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
}

void write_network(const std::string& folder, const TinyNetwork& network) {
  at::Tensor weights = at::linspace(-1, 1, 12).reshape({4, 3});
  const at::Tensor input = make_input(network.byte_input, network.hostile_rows);
  const at::Tensor exact = input.flatten(1).to(at::kDouble) / (network.byte_input ? 255 : 1);
  at::Tensor oracle = exact.matmul(weights.to(at::kDouble));
  oracle[network.wrong_row][1] += network.oracle_error;
  weights[1][2] += network.weight_error;

  torch::jit::Module module("m");
  module.register_parameter("w", weights, false);
  if (network.bound.defined()) {
    const c10::IValue object(c10::make_intrusive<Weights>(network.bound));
    module.register_attribute("engine", object.type(), object);
  }
  module.define("def forward(self, x):\n  " + network.body + "\n",
                std::make_shared<OperatorResolver>());
  std::ostringstream program;
  module.save(program);

  Json manifest = make_manifest();
  manifest["requirements"]["torch"] = TORCH_VERSION;
  manifest["requirements"]["load_first"] = network.load_first;
  if (network.byte_input) {
    manifest["inputs"][0] = {
        {"name", "x"}, {"dtype", "uint8"}, {"layout", "NHWC"}, {"shape", {2, 2, 1}}};
  }
  manifest["programs"][0]["batch"] = {network.min_batch, network.max_batch};
  for (int64_t i = 0; i < network.hostile_rows; ++i) {
    // No allowance for zeros: this network has no bias, so its answer is exactly 0.
    add_sample(manifest, i == 0 ? "zeros" : "hot pixel", 0, i == 0 ? 0 : 1e-6);
  }
  std::vector<std::pair<std::string, at::Tensor>> golden = {{"inputs/x", input}};
  if (!network.only_more) golden.emplace_back("oracle/y", oracle);
  for (const TinyOutput& output : network.more) add_more(output, oracle, manifest, golden);
  if (network.only_more) {
    manifest["outputs"].erase(0);
    manifest["parity"]["outputs"].erase(0);
  }
  set_status(manifest, network.status);
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : golden) views.push_back(view_of(name, tensor));
  write_artifact(folder, manifest,
                 {{"model.ts", program.str()}, {kGoldenFile, safetensors_bytes(views)}});
}

void write_tensor(const std::string& path, const at::Tensor& tensor) {
  const TensorView view = view_of("x", tensor);
  write_file(path, path.ends_with(".npy") ? npy_bytes(view) : safetensors_bytes({view}));
}

void write_counting(const std::string& path, const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  write_tensor(path, at::arange(count, at::kFloat).reshape(shape));
}

at::Tensor read_tensor(const std::string& path) { return read_tensor_file(path); }

}  // namespace zoo::testing
