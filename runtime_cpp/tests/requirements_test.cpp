#include "artifact/requirements.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace zoo {
namespace {

Manifest cpu_manifest() {
  Manifest manifest = parse_manifest(testing::make_manifest().dump(), "folder");
  manifest.requirements.torch = "2.13.0";
  manifest.requirements.isa = {"avx2", "avx512f"};
  return manifest;
}

Manifest cuda_manifest() {
  Manifest manifest = cpu_manifest();
  manifest.device = "cuda";
  manifest.requirements.gpu_arch = "sm_90";
  return manifest;
}

Host good_host() {
  Host host;
  host.torch_built = "2.13.0";
  host.torch_loaded = "2.13.0+cpu";
  host.torch_has_cuda = true;
  host.cpu_flags = {"avx2", "avx512f", "fma"};
  host.gpu.arch = "sm_90";
  host.engines = "torchscript .ts";
  host.has_engine = true;
  return host;
}

TEST(Requirements, HoldOnTheRightMachine) {
  check_requirements(cpu_manifest(), good_host());
  check_requirements(cuda_manifest(), good_host());
  Manifest any_torch = cpu_manifest();
  any_torch.requirements.torch.reset();
  check_requirements(any_torch, good_host());
}

TEST(Requirements, BuiltForSomethingElseIsThree) {
  Host host = good_host();
  host.torch_built = host.torch_loaded = "2.12.1";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "runs torch 2.12.1",
                 check_requirements(cpu_manifest(), host));
  host = good_host();
  host.cpu_flags.erase("avx512f");
  EXPECT_REFUSED(ExitCode::kBadArtifact, "lacks avx512f", check_requirements(cpu_manifest(), host));
  host = good_host();
  host.gpu.arch = "sm_80";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "this GPU is sm_80",
                 check_requirements(cuda_manifest(), host));
  Manifest listed = cuda_manifest();
  listed.requirements.gpu_arch = "sm_89,sm_120";
  for (const char* one : {"sm_89", "sm_120"}) {
    host.gpu.arch = one;
    check_requirements(listed, host);
  }
  for (const char* other : {"sm_90", "sm_12", "sm_8", "sm_121"}) {
    host.gpu.arch = other;
    EXPECT_REFUSED(ExitCode::kBadArtifact, "built for sm_89,sm_120",
                   check_requirements(listed, host));
  }
  Manifest portable = cuda_manifest();
  portable.requirements.gpu_arch = "sm_80+";
  for (const char* newer : {"sm_80", "sm_90", "sm_120"}) {
    host.gpu.arch = newer;
    check_requirements(portable, host);
  }
  host.gpu.arch = "sm_75";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "built for sm_80+", check_requirements(portable, host));
  host = good_host();
  host.device = "cuda";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "built for cpu", check_requirements(cpu_manifest(), host));
}

TEST(Requirements, WhatTheMachineLacksIsFour) {
  Host host = good_host();
  host.torch_loaded = "2.12.0";
  EXPECT_REFUSED(ExitCode::kMachineLacks, "found torch 2.12.0",
                 check_requirements(cpu_manifest(), host));
  host = good_host();
  host.gpu = {std::nullopt, "", "no driver"};
  EXPECT_REFUSED(ExitCode::kMachineLacks, "no driver", check_requirements(cuda_manifest(), host));
  host = good_host();
  host.torch_has_cuda = false;
  EXPECT_REFUSED(ExitCode::kMachineLacks, "CPU torch", check_requirements(cuda_manifest(), host));
  host = good_host();
  host.has_engine = false;
  EXPECT_REFUSED(ExitCode::kMachineLacks, "this zoo-run has torchscript .ts",
                 check_requirements(cpu_manifest(), host));
}

TEST(Requirements, AnEngineThatIsNotThereSaysWhatBringsIt) {
  Host host = good_host();
  host.has_engine = false;
  const auto refusal = [&](const std::string& backend) {
    Manifest manifest = cpu_manifest();
    manifest.backend = backend;
    std::string message;
    EXPECT_EQ(testing::exit_code_of([&] { check_requirements(manifest, host); }, &message),
              ExitCode::kMachineLacks);
    return message;
  };
  EXPECT_TRUE(refusal("openvino").ends_with("pip install openvino, then build zoo-run again"));
  EXPECT_TRUE(refusal("eager").ends_with("that one runs in Python only"));
  EXPECT_TRUE(refusal("torch-compile").ends_with("that one runs in Python only"));
  EXPECT_TRUE(refusal("onnx").ends_with("pip install onnxruntime, then build zoo-run again"));
  EXPECT_TRUE(refusal("tensorrt").ends_with("this zoo-run has torchscript .ts"));
}

TEST(Requirements, CudaGraphsAreForGpus) {
  Host host = good_host();
  host.wants_cuda_graph = true;
  host.has_cuda_graphs = true;
  check_requirements(cuda_manifest(), host);
  EXPECT_REFUSED(ExitCode::kUsage, "--cuda-graph: the artifact was built for cpu",
                 check_requirements(cpu_manifest(), host));
  host.has_cuda_graphs = false;
  EXPECT_REFUSED(ExitCode::kMachineLacks, "--cuda-graph: this zoo-run was built without",
                 check_requirements(cuda_manifest(), host));
}

}  // namespace
}  // namespace zoo
