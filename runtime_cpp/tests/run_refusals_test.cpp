// What zoo-run refuses, end to end: the exit code, one line, nothing on stdout, no signal.
#include <ATen/ATen.h>

#include <limits>

#include "artifact/rules.h"
#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::expect_refusal;
using testing::make_zip;
using testing::read_file;
using testing::run_zoo;
using testing::TempFolder;
using testing::TinyNetwork;
using testing::write_file;
using testing::write_network;

class Refusals : public ::testing::Test {
 protected:
  Refusals() { write_network(folder_.path()); }
  void expect_input_refused(const at::Tensor& value, const std::string& part) {
    testing::write_tensor(folder_ / "x.npy", value);
    expect_refusal({folder_.path(), "--input", folder_ / "x.npy"}, 3, part);
  }
  TempFolder folder_;
};

TEST_F(Refusals, DamageAnywhere) {
  for (const char* name : {"manifest.json", "manifest.sha256", "model.ts", kGoldenFile}) {
    const std::string whole = read_file(folder_ / name);
    for (const size_t at : {size_t{0}, whole.size() / 2, whole.size() - 1}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x04);
      write_file(folder_ / name, damaged);
      expect_refusal({folder_.path(), "--check"}, 3, "");
    }
    write_file(folder_ / name, whole);
  }
  EXPECT_EQ(run_zoo({folder_.path(), "--check"}).exit_code, 0);
}

TEST_F(Refusals, InputsThatDoNotFit) {
  const at::Tensor good = at::ones({2, 1, 2, 2});
  expect_input_refused(good.to(at::kDouble), "float64 [2, 1, 2, 2], the program takes float32 [N");
  expect_input_refused(at::ones({2, 1, 3, 2}), "[2, 1, 3, 2]");
  expect_input_refused(at::ones({1, 2, 2}), "[1, 2, 2]");
  expect_input_refused(at::ones({}), "[]");
  expect_input_refused(at::ones({0, 1, 2, 2}), "no rows");
  at::Tensor bad = good.clone();
  bad[1][0][1][1] = std::numeric_limits<float>::quiet_NaN();
  expect_input_refused(bad, "NaN or Inf");
  EXPECT_EQ(run_zoo({folder_.path(), "--input", folder_ / "x.npy", "--allow-nonfinite"}).exit_code,
            0);
}

TEST_F(Refusals, InputFilesThatAreNone) {
  for (const char* name : {"x.npy", "x.safetensors"}) {
    const std::string path = folder_ / name;
    expect_refusal({folder_.path(), "--input", path}, 3, "No such file");
    for (const std::string& bytes : {std::string(), std::string("neither"), std::string(9, '{'),
                                     make_zip({{"m/data.pkl", "junk"}})}) {
      write_file(path, bytes);
      expect_refusal({folder_.path(), "--input", path}, 3, name);
    }
    testing::write_counting(path, {2, 1, 2, 2});
    const std::string whole = read_file(path);
    for (size_t length = 0; length < whole.size(); length += 37) {
      write_file(path, whole.substr(0, length));
      expect_refusal({folder_.path(), "--input", path}, 3, name);
    }
  }
  write_file(folder_ / "x.safetensors", testing::make_golden());
  expect_refusal({folder_.path(), "--input", folder_ / "x.safetensors"}, 3, "holds 2 tensors");
  expect_refusal({folder_.path(), "--input", folder_ / "x.pt"}, 2, "numpy.save");
}

// Damage that no hash guards: whatever it does, it does not kill the process.
TEST_F(Refusals, FlippedBytesInAnInputNeverCrash) {
  for (const char* name : {"x.npy", "x.safetensors"}) {
    const std::string path = folder_ / name;
    testing::write_counting(path, {2, 1, 2, 2});
    const std::string whole = read_file(path);
    for (size_t i = 0; i < whole.size(); i += 13) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ 0xff);
      write_file(path, damaged);
      const auto outcome = run_zoo({folder_.path(), "--input", path});
      EXPECT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.exit_code << i;
    }
  }
}

TEST_F(Refusals, RowsThatNoCallCanTake) {
  TinyNetwork network;
  network.min_batch = network.max_batch = 4;
  write_network(folder_.path(), network);
  testing::write_counting(folder_ / "x.npy", {6, 1, 2, 2});
  expect_refusal({folder_.path(), "--input", folder_ / "x.npy"}, 3, "leaves 2");
  expect_refusal({folder_.path(), "--batch", "5"}, 3, "batch 4");
  expect_refusal({folder_.path(), "--check", "--batch", "5"}, 3, "batch 4");
}

TEST_F(Refusals, ProgramsThatBreakTheContract) {
  for (const char* body :
       {"return x", "return torch.flatten(x, 1).matmul(self.w).double()", "return (x, x)",
        "return torch.flatten(x, 1).matmul(self.w)[:, :2]", "return x.matmul(self.w)"}) {
    TinyNetwork network;
    network.body = body;
    write_network(folder_.path(), network);
    expect_refusal({folder_.path(), "--check"}, 3, "");
    expect_refusal({folder_.path(), "--iterations", "1"}, 3, "");
  }
}

TEST_F(Refusals, WhatThisMachineOrThisBuildIsNot) {
  const auto with = [&](const std::string& where, const Json& value) {
    write_network(folder_.path());
    Json manifest = Json::parse(read_file(folder_ / "manifest.json"));
    manifest[Json::json_pointer(where)] = value;
    if (where == "/requirements/isa") manifest["target"]["cpuid"] = value;
    testing::write_manifest(folder_.path(), manifest.dump());
  };
  expect_refusal({folder_.path(), "--device", "cuda"}, 3, "built for cpu");
  with("/requirements/torch", "1.0.0");
  expect_refusal({folder_.path()}, 3, "built for torch 1.0.0");
  with("/requirements/isa", {"avx999"});
  expect_refusal({folder_.path()}, 3, "avx999");
  with("/backend", "of a later zoo");
  expect_refusal({folder_.path()}, 4, "inductor .pt2");
  for (const char* backend : {"eager", "torch-compile", "onnx", "inductor", "tensorrt-plan"}) {
    with("/backend", backend);
    expect_refusal({folder_.path()}, 3, "programs[0].file must end in");
  }
  with("/schema", "1.2");
  expect_refusal({folder_.path()}, 3, "zoo recompile");
}

TEST_F(Refusals, OutputsAreTriedBeforeAnyWork) {
  testing::write_counting(folder_ / "x.npy", {2, 1, 2, 2});
  std::filesystem::create_symlink(folder_ / "x.npy", folder_ / "link.npy");
  std::filesystem::create_directory(folder_ / "folder.npy");
  for (const char* name : {"folder.npy", "none/y.npy", "link.npy"}) {
    const std::string output = folder_ / name;
    expect_refusal({"/no/artifact", "--input", "/no/input.npy", "--output", output}, 4, output);
    expect_refusal({"/no/artifact", "--json", output}, 4, output);
  }
  expect_refusal({"/no/artifact"}, 3, "/no/artifact");
}

}  // namespace
}  // namespace zoo
