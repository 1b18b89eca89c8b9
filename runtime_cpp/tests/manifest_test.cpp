#include "artifact/manifest.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "fixtures.h"

namespace zoo {
namespace {

using testing::make_manifest;

void expect_refused(const std::string& text, const std::string& part) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, part, parse_manifest(text));
}

// Puts `value` at the JSON pointer `where`.
void expect_refused_with(const std::string& where, const Json& value, const std::string& part) {
  Json manifest = make_manifest();
  manifest[Json::json_pointer(where)] = value;
  expect_refused(manifest.dump(), part);
}

TEST(Manifest, ReadsWhatKeepsTheContract) {
  const Manifest manifest = parse_manifest(make_manifest().dump());
  EXPECT_EQ(manifest.model, "tiny");
  EXPECT_EQ(manifest.num_classes, 3);
  EXPECT_EQ(manifest.programs[0].max_batch, 64);
  EXPECT_EQ(manifest.parity.samples.size(), 16u);
  EXPECT_DOUBLE_EQ(manifest.parity.samples[0].floor, 1e-6);
  EXPECT_TRUE(manifest.parity.gates[0].passed);
}

TEST(Manifest, IgnoresUnknownKeysAndNewerMinors) {
  Json manifest = make_manifest();
  manifest["new"] = {{"deep", {1, 2}}};
  manifest["quantization"] = {{"method", "minmax"}};
  manifest["parity"]["reference"] = "quantised";
  for (const char* schema : {"1.0", "1.1", "1.7"}) {
    manifest["schema"] = schema;
    EXPECT_EQ(parse_manifest(manifest.dump()).model, "tiny");
  }
}

TEST(Manifest, ReadsBothKindsOfInput) {
  Json manifest = make_manifest();
  EXPECT_FALSE(parse_manifest(manifest.dump()).byte_input);
  manifest["inputs"][0] = {
      {"name", "x"}, {"dtype", "uint8"}, {"layout", "NHWC"}, {"shape", {4, 5, 3}}};
  const Manifest bytes = parse_manifest(manifest.dump());
  EXPECT_TRUE(bytes.byte_input);
  EXPECT_EQ(bytes.sample_shape, (std::vector<int64_t>{4, 5, 3}));
  manifest["inputs"][0]["layout"] = "NCHW";
  expect_refused(manifest.dump(), "inputs[0].layout must be NHWC, it is 'NCHW'");
  manifest["inputs"][0]["layout"] = "NHWC";
  manifest["inputs"][0]["shape"] = {4, 5};
  expect_refused(manifest.dump(), "must be [H, W, C]");
  manifest["inputs"][0]["shape"] = {1 << 20, 1 << 20, 1 << 20};
  expect_refused(manifest.dump(), "2^28");
}

TEST(Manifest, ReadsProgramsWhoseRangesOverlap) {
  Json manifest = make_manifest();
  manifest["programs"] = {{{"file", "model.ts"}, {"batch", {1, 1}}, {"entry", "one"}},
                          {{"file", "model.ts"}, {"batch", {1, 64}}, {"entry", "many"}}};
  const Manifest read = parse_manifest(manifest.dump());
  ASSERT_EQ(read.programs.size(), 2u);
  EXPECT_EQ(read.programs[1].entry, "many");
}

TEST(Manifest, RefusesOtherSchemas) {
  expect_refused_with("/schema", "2.0", "reads 1.x");
  for (const char* bad : {"1", "1.", ".1", "1.0x", "x", "", "-1.0", "1.0.0"}) {
    expect_refused_with("/schema", bad, "schema");
  }
  expect_refused_with("/schema", 1.0, "schema must be a string, it is number");
}

TEST(Manifest, RefusesTruncationAtEveryByte) {
  const std::string text = make_manifest().dump();
  for (size_t length = 0; length < text.size(); length += 7) {
    expect_refused(text.substr(0, length), "manifest.json");
  }
  expect_refused(text + "x", "not JSON");
}

TEST(Manifest, RefusesDuplicateKeysAtAnyDepth) {
  const std::string text = make_manifest().dump();
  expect_refused("{\"a\": 1, \"a\": 2}", "'a' is there twice");
  expect_refused("{\"x\": [{\"b\": {\"c\": 1, \"c\": 1}}]}", "'c' is there twice");
  expect_refused("{\"\\u0061\": 1, \"a\": 2}", "'a' is there twice");
  expect_refused("{\"schema\": \"1.0\"," + text.substr(1), "'schema' is there twice");
}

TEST(Manifest, RefusesDeepNesting) {
  expect_refused("{\"a\": " + std::string(100, '[') + std::string(100, ']') + "}", "deeper");
  expect_refused(std::string(500'000, '['), "deeper");
}

TEST(Manifest, RefusesWhatIsNotJson) {
  for (const char* text :
       {"", "NaN", "[1", "\xff\xfe", "{\"a\": NaN}", "{\"a\": 1e999}", "null", "[]", "3"}) {
    expect_refused(text, "manifest.json");
  }
}

TEST(Manifest, EveryFieldMustBeThere) {
  const Json whole = make_manifest();
  for (const auto& [key, value] : whole.items()) {
    Json manifest = whole;
    manifest.erase(key);
    expect_refused(manifest.dump(), key + " is missing");
    if (!value.is_object() || key == "files") continue;
    for (const auto& [inner, unused] : value.items()) {
      Json partial = whole;
      partial[key].erase(inner);
      expect_refused(partial.dump(), key + "." + inner + " is missing");
    }
  }
}

TEST(Manifest, EveryFieldMustHaveItsType) {
  const Json whole = make_manifest();
  const Json flat = whole.flatten();
  for (const auto& [pointer, value] : flat.items()) {
    if (pointer.starts_with("/evidence")) continue;
    Json manifest = whole;
    manifest[Json::json_pointer(pointer)] = Json::array({Json::object()});
    expect_refused(manifest.dump(), "must");
  }
}

TEST(Manifest, NamesTheFieldAndWhatIsAllowed) {
  expect_refused_with("/device", "tpu", "device must be cpu or cuda, it is 'tpu'");
  expect_refused_with("/precision", "fp64", "precision must be fp32 or tf32 or");
  expect_refused_with("/inputs/0/dtype", "int8", "inputs[0].dtype must be float32 or uint8");
  expect_refused_with("/inputs/0/dtype", "uint8", "inputs[0].layout must be NHWC");
  expect_refused_with("/inputs/0/layout", "NHWC", "inputs[0].layout must be NCHW");
  expect_refused_with("/inputs/0/shape", {1, 2}, "must be [C, H, W]");
  expect_refused_with("/inputs/0/shape", {1 << 20, 1 << 20, 1 << 20}, "2^28");
  expect_refused_with("/inputs/0/shape/0", 0, "must be from 1 to");
  expect_refused_with("/programs/0/batch", {4, 2}, "must be from 4 to");
  expect_refused_with("/programs/0/batch/1", 18446744073709551615u, "must be from 1 to");
  expect_refused_with("/programs", Json::array(), "at least one");
  expect_refused_with("/model/classes", {"a"}, "1 names for 3");
  expect_refused_with("/model/weights_sha256", std::string(64, 'A'), "64 lowercase");
  expect_refused_with("/requirements/isa", {"avx2"}, "must equal target.cpuid");
  expect_refused_with("/requirements/gpu_arch", "sm_90", "must be null for a cpu artifact");
  expect_refused_with("/requirements/load_first", {"a/b.so"}, "not a path");
  expect_refused_with("/parity/k", -1, "must not be negative");
  expect_refused_with("/parity/samples/3/floor", nullptr, "parity.samples[3].floor");
}

TEST(Manifest, HoldsSixteenToSixtyFourSamples) {
  Json manifest = make_manifest();
  Json& samples = manifest["parity"]["samples"];
  Json sample = samples[0];
  sample["kind"] = "zeros";
  while (samples.size() < 64) samples.push_back(sample);
  manifest["parity"]["top1"] = {{"decided", 64}, {"agreed", 64}};
  EXPECT_EQ(parse_manifest(manifest.dump()).parity.samples.size(), 64u);
  samples.push_back(sample);
  expect_refused(manifest.dump(), "16 to 64 entries, it holds 65");
  while (samples.size() > 15) samples.erase(0);
  expect_refused(manifest.dump(), "16 to 64 entries, it holds 15");
}

TEST(Manifest, FieldsThatCameLaterMayBeAbsentAndHaveATypeAllTheSame) {
  Json manifest = make_manifest();
  manifest["parity"]["skipped_samples"] = {{{"kind", "large"}, {"reason", "too large"}}};
  manifest["determinism"]["runners"] = 2;
  manifest["determinism"]["runners_identical"] = true;
  EXPECT_EQ(parse_manifest(manifest.dump()).model, "tiny");
  manifest["determinism"]["runners_identical"] = nullptr;
  EXPECT_EQ(parse_manifest(manifest.dump()).model, "tiny");
  for (const char* pointer : {"/parity/skipped_samples", "/parity/skipped_samples/0/kind",
                              "/parity/skipped_samples/0/reason", "/determinism/runners",
                              "/determinism/runners_identical"}) {
    Json wrong = manifest;
    wrong[Json::json_pointer(pointer)] = 0.5;
    expect_refused(wrong.dump(), "must be");
  }
}

TEST(Manifest, RefusesHostileFileNames) {
  for (const char* name : {"../x", "/x", "a\\b", "a//b", "", "a\nb", "a/.."}) {
    Json manifest = make_manifest();
    manifest["files"][name] = {{"size", 1}, {"sha256", std::string(64, '0')}};
    expect_refused(manifest.dump(), "files");
  }
  Json manifest = make_manifest();
  manifest["files"].erase("golden.pt");
  expect_refused(manifest.dump(), "lacks golden.pt");
  expect_refused_with("/programs/0/file", "other.ts", "lacks the program 'other.ts'");
}

}  // namespace
}  // namespace zoo
