#include "artifact/manifest.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "fixtures.h"

namespace zoo {
namespace {

using testing::make_manifest;

Manifest read(const Json& manifest) { return parse_manifest(manifest.dump(), "folder"); }

void expect_refused(const std::string& text, const std::string& part) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, part, parse_manifest(text, "folder"));
}

// Puts `value` at the JSON pointer `where`.
void expect_refused_with(const std::string& where, const Json& value, const std::string& part) {
  Json manifest = make_manifest();
  manifest[Json::json_pointer(where)] = value;
  expect_refused(manifest.dump(), part);
}

TEST(Manifest, ReadsWhatKeepsTheContract) {
  const Manifest manifest = read(make_manifest());
  EXPECT_EQ(manifest.status, Status::kProved);
  EXPECT_EQ(manifest.model, "tiny");
  EXPECT_EQ(manifest.input.name, "x");
  ASSERT_EQ(manifest.outputs.size(), 1u);
  EXPECT_EQ(manifest.outputs[0].shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(manifest.outputs[0].classes, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(manifest.programs[0].max_batch, 64);
  EXPECT_EQ(manifest.parity.kinds.size(), 16u);
  EXPECT_EQ(manifest.parity.kinds[15], "normal");
  ASSERT_EQ(manifest.parity.outputs.size(), 1u);
  EXPECT_DOUBLE_EQ(manifest.parity.outputs[0].bounds[0].floor, 1e-6);
  EXPECT_FALSE(manifest.parity.outputs[0].positions);
  EXPECT_EQ(manifest.parity.outputs[0].groups, 0);
  EXPECT_TRUE(manifest.parity.outputs[0].has_classes);
  EXPECT_TRUE(manifest.parity.gates[0].passed);
}

TEST(Manifest, IgnoresUnknownKeysAndNewerMinors) {
  Json manifest = make_manifest();
  manifest["new"] = {{"deep", {1, 2}}};
  manifest["parity"]["more"] = "text";
  for (const char* schema : {"2.0", "2.1", "2.999999"}) {
    manifest["schema"] = schema;
    EXPECT_EQ(read(manifest).model, "tiny");
  }
}

TEST(Manifest, ReadsBothKindsOfInput) {
  Json manifest = make_manifest();
  EXPECT_FALSE(read(manifest).input.bytes);
  manifest["inputs"][0] = {
      {"name", "x"}, {"dtype", "uint8"}, {"layout", "NHWC"}, {"shape", {4, 5, 3}}};
  const Manifest bytes = read(manifest);
  EXPECT_TRUE(bytes.input.bytes);
  EXPECT_EQ(bytes.input.shape, (std::vector<int64_t>{4, 5, 3}));
}

TEST(Manifest, ReadsOutputsWithoutClasses) {
  Json manifest = make_manifest();
  manifest["outputs"][0]["classes"] = nullptr;
  EXPECT_TRUE(read(manifest).outputs[0].classes.empty());
  EXPECT_TRUE(read(manifest).parity.outputs[0].has_classes);  // their names are not known
  manifest["parity"]["outputs"][0]["top1"] = nullptr;
  EXPECT_FALSE(read(manifest).parity.outputs[0].has_classes);
}

TEST(Manifest, ReadsSeveralOutputsOfAnyShape) {
  Json manifest = make_manifest();
  testing::add_output(manifest, "number", {});
  testing::add_output(manifest, "map", {6, 4, 4});
  manifest["parity"]["outputs"][2]["positions"] = 95;
  const Manifest read_back = read(manifest);
  ASSERT_EQ(read_back.outputs.size(), 3u);
  EXPECT_EQ(read_back.outputs[1].shape, std::vector<int64_t>());
  EXPECT_EQ(num_values(read_back.outputs[1].shape), 1);
  EXPECT_EQ(num_values(read_back.outputs[2].shape), 96);
  EXPECT_FALSE(read_back.parity.outputs[2].has_classes);
  EXPECT_EQ(read_back.parity.outputs[2].groups, 6);
  EXPECT_EQ(read_back.parity.outputs[2].positions, 95);
  EXPECT_EQ(read_back.parity.outputs[2].bounds.size(), 16u);
}

TEST(Manifest, HoldsOutputsToTheirRules) {
  Json manifest = make_manifest();
  testing::add_output(manifest, "map", {6, 4, 4});
  const auto refuse = [&](const std::string& where, const Json& value, const std::string& part) {
    Json wrong = manifest;
    wrong[Json::json_pointer(where)] = value;
    expect_refused(wrong.dump(), part);
  };
  refuse("/outputs/1/name", "y", "outputs[1].name is that of an earlier output");
  refuse("/parity/outputs/1/name", "mab", "parity.outputs must name the outputs in their order");
  refuse("/parity/outputs/1/channels", nullptr, "channels must be an object for the shape [6,4,4]");
  refuse("/parity/outputs/0/channels", manifest["parity"]["outputs"][1]["channels"],
         "parity.outputs[0].channels must be null for the shape [3]");
  refuse("/parity/outputs/1/channels/groups", 5, "parity.outputs[1].channels.groups must be 6");
  refuse("/parity/outputs/1/positions", 96, "parity.outputs[1].positions must be below 96");
  refuse("/parity/outputs/1/top1", {{"decided", 1}, {"agreed", 1}},
         "parity.outputs[1].top1 must be null for the shape [6,4,4]");
  refuse("/parity/outputs/0/top1", nullptr, "top1 must be an object: the output has classes");
  refuse("/parity/outputs/1/channels/ratio", 1.0000001, "status is 'proved', but");
  refuse("/parity/outputs/1/channels/ratio", nullptr, "status is 'proved', but");
  testing::set_status(manifest, "pending");
  EXPECT_EQ(read(manifest).status, Status::kPending);
  refuse("/parity/outputs/1/channels/ratio", 0.5, "status is 'pending', but");
}

TEST(Manifest, ReadsProgramsWhoseRangesOverlap) {
  Json manifest = make_manifest();
  manifest["programs"] = {{{"file", "model.ts"}, {"batch", {1, 1}}, {"entry", "one"}},
                          {{"file", "model.ts"}, {"batch", {1, 64}}, {"entry", "many"}}};
  const Manifest whole = read(manifest);
  ASSERT_EQ(whole.programs.size(), 2u);
  EXPECT_EQ(whole.programs[1].entry, "many");
}

TEST(Manifest, ReadsEveryStatus) {
  for (const Status status : {Status::kProved, Status::kPending, Status::kAccepted}) {
    Json manifest = make_manifest();
    testing::set_status(manifest, status_name(status));
    EXPECT_EQ(read(manifest).status, status);
  }
  expect_refused_with("/status", "pending", "status is 'pending', but");
  expect_refused_with("/status", "accepted", "status is 'accepted', but");
  expect_refused_with("/parity/gates/0/passed", false, "status is 'proved', but");
}

TEST(Manifest, RefusesOtherSchemas) {
  for (const char* other : {"1.2", "1.999999", "3.0", "0.1"}) {
    expect_refused_with("/schema", other, "another zoo (schema " + std::string(other));
  }
  expect_refused_with("/schema", "1.2", "build it again with `zoo recompile folder`");
  for (const char* bad : {"2", "2.", ".2", "2.0x", "x", "", "-2.0", "2.0.0", "2.9999999", "02.0"}) {
    expect_refused_with("/schema", bad, "schema");
  }
  expect_refused_with("/schema", 2.0, "schema must be of type string, it is number");
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
    manifest[Json::json_pointer(pointer)] = Json::array({3});
    expect_refused(manifest.dump(), "must");
  }
}

TEST(Manifest, NamesTheFieldAndWhatIsAllowed) {
  expect_refused_with("/device", "tpu", "device must be cpu or cuda, it is \"tpu\"");
  expect_refused_with("/inputs/0/layout", "NHWC", "inputs[0].layout must be NCHW");
  expect_refused_with("/inputs/0/shape/0", 0, "inputs[0].shape[0] must be at least 1, it is 0");
  expect_refused_with("/inputs/0/shape", {1 << 20, 1 << 20, 1 << 20}, "2^28");
  expect_refused_with("/programs/0/batch", {4, 2}, "programs[0].batch must be [min, max]");
  expect_refused_with("/programs/0/batch/1", 18446744073709551615u, "must be at most 1048576");
  expect_refused_with("/model/weights_sha256", std::string(64, 'A'), "must match");
  expect_refused_with("/requirements/isa", {"avx2"}, "must equal target.cpuid");
  expect_refused_with("/requirements/load_first", {".."}, "requirements.load_first[0] holds '..'");
  expect_refused_with("/parity/outputs/0/bounds/3/floor", nullptr,
                      "parity.outputs[0].bounds[3].floor must be of type number, it is null");
}

TEST(Manifest, RefusesHostileFileNames) {
  for (const char* name : {"../x", "/x", "a\\b", "a//b", "", "a\nb", "a/..", "./a"}) {
    Json manifest = make_manifest();
    manifest["files"][name] = {{"size", 1}, {"sha256", std::string(64, '0')}};
    expect_refused(manifest.dump(), "files");
  }
  Json manifest = make_manifest();
  manifest["files"].erase(kGoldenFile);
  expect_refused(manifest.dump(), "files lacks 'golden.safetensors'");
  expect_refused_with("/programs/0/file", "other.ts", "lacks the program 'other.ts'");
}

}  // namespace
}  // namespace zoo
