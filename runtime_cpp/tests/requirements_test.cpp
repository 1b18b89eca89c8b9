#include "requirements.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace zoo {
namespace {

Manifest cpu_manifest() {
  Manifest manifest = parse_manifest(testing::make_manifest().dump());
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

Offer good_offer() {
  Offer offer;
  offer.torch_built = "2.13.0";
  offer.torch_loaded = "2.13.0+cpu";
  offer.torch_has_cuda = true;
  offer.cpu_flags = {"avx2", "avx512f", "fma"};
  offer.gpu.arch = "sm_90";
  offer.engines = "torchscript .ts";
  offer.has_engine = true;
  return offer;
}

TEST(Requirements, HoldOnTheRightMachine) {
  check_requirements(cpu_manifest(), good_offer());
  check_requirements(cuda_manifest(), good_offer());
  Manifest any_torch = cpu_manifest();
  any_torch.requirements.torch.reset();
  check_requirements(any_torch, good_offer());
}

TEST(Requirements, BuiltForSomethingElseIsThree) {
  Offer offer = good_offer();
  offer.torch_built = offer.torch_loaded = "2.12.1";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "runs torch 2.12.1",
                 check_requirements(cpu_manifest(), offer));
  offer = good_offer();
  offer.cpu_flags.erase("avx512f");
  EXPECT_REFUSED(ExitCode::kBadArtifact, "lacks avx512f",
                 check_requirements(cpu_manifest(), offer));
  offer = good_offer();
  offer.gpu.arch = "sm_80";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "this GPU is sm_80",
                 check_requirements(cuda_manifest(), offer));
  Manifest portable = cuda_manifest();
  portable.requirements.gpu_arch = "sm_80+";
  for (const char* newer : {"sm_80", "sm_90", "sm_120"}) {
    offer.gpu.arch = newer;
    check_requirements(portable, offer);
  }
  offer.gpu.arch = "sm_75";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "built for sm_80+", check_requirements(portable, offer));
  offer = good_offer();
  offer.device = "cuda";
  EXPECT_REFUSED(ExitCode::kBadArtifact, "built for cpu",
                 check_requirements(cpu_manifest(), offer));
}

TEST(Requirements, WhatTheMachineLacksIsFour) {
  Offer offer = good_offer();
  offer.torch_loaded = "2.12.0";
  EXPECT_REFUSED(ExitCode::kMachineLacks, "found torch 2.12.0",
                 check_requirements(cpu_manifest(), offer));
  offer = good_offer();
  offer.gpu = {std::nullopt, "no driver"};
  EXPECT_REFUSED(ExitCode::kMachineLacks, "no driver", check_requirements(cuda_manifest(), offer));
  offer = good_offer();
  offer.torch_has_cuda = false;
  EXPECT_REFUSED(ExitCode::kMachineLacks, "CPU torch", check_requirements(cuda_manifest(), offer));
  offer = good_offer();
  offer.has_engine = false;
  EXPECT_REFUSED(ExitCode::kMachineLacks, "this zoo-run has torchscript .ts",
                 check_requirements(cpu_manifest(), offer));
}

TEST(Requirements, AnEngineThatIsNotThereSaysWhatBringsIt) {
  Offer offer = good_offer();
  offer.has_engine = false;
  const auto refusal = [&](const std::string& backend) {
    Manifest manifest = cpu_manifest();
    manifest.backend = backend;
    std::string message;
    EXPECT_EQ(testing::exit_code_of([&] { check_requirements(manifest, offer); }, &message),
              ExitCode::kMachineLacks);
    return message;
  };
  EXPECT_TRUE(refusal("openvino").ends_with("pip install openvino, then build zoo-run again"));
  EXPECT_TRUE(refusal("eager").ends_with("that one runs in Python only"));
  EXPECT_TRUE(refusal("torch-compile").ends_with("that one runs in Python only"));
  EXPECT_TRUE(refusal("onnx").ends_with("this zoo-run has torchscript .ts"));
}

TEST(Requirements, CudaGraphsAreForGpus) {
  Offer offer = good_offer();
  offer.wants_cuda_graph = true;
  offer.has_cuda_graphs = true;
  check_requirements(cuda_manifest(), offer);
  EXPECT_REFUSED(ExitCode::kUsage, "--cuda-graph: the artifact was built for cpu",
                 check_requirements(cpu_manifest(), offer));
  offer.has_cuda_graphs = false;
  EXPECT_REFUSED(ExitCode::kMachineLacks, "--cuda-graph: this zoo-run was built without",
                 check_requirements(cuda_manifest(), offer));
}

}  // namespace
}  // namespace zoo
