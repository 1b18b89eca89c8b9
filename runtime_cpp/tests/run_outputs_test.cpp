// zoo-run with programs that have several outputs, of any shape.
#include <ATen/ATen.h>

#include "artifact/rules.h"
#include "artifact/safetensors.h"
#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::Outcome;
using testing::read_file;
using testing::run_zoo;
using testing::TempFolder;
using testing::TinyNetwork;
using testing::write_network;

// y (3), a map of 6 channels of 4 x 4, one number, and a map of which golden keeps five values.
TinyNetwork several() {
  TinyNetwork network;
  network.body =
      "y = torch.flatten(x, 1).matmul(self.w)\n"
      "  m = y.repeat(1, 32).reshape(-1, 6, 4, 4)\n"
      "  return (y, m, y.sum(1), -m)";
  const auto map = [](const at::Tensor& y) { return y.repeat({1, 32}); };
  network.more = {
      {"map", {6, 4, 4}, map},
      {"number", {}, [](const at::Tensor& y) { return y.sum(1); }},
      {"other", {6, 4, 4}, [=](const at::Tensor& y) { return -map(y); }, {0, 5, 20, 50, 95}}};
  return network;
}

// The network with `from` in its body replaced by `to`.
TinyNetwork changed(const std::string& from, const std::string& to) {
  TinyNetwork network = several();
  network.body.replace(network.body.find(from), from.size(), to);
  return network;
}

Json check_json(const std::string& folder, int exit_code) {
  const Outcome outcome = run_zoo({folder, "--check", "--json", "-"});
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.out << outcome.err;
  return Json::parse(outcome.out)["check"];
}

TEST(RunOutputs, AreAllProved) {
  const TempFolder folder;
  write_network(folder.path(), several());
  const Json check = check_json(folder.path(), 0);
  ASSERT_EQ(check["outputs"].size(), 4u);
  EXPECT_EQ(check["outputs"][1]["name"], "map");
  EXPECT_EQ(check["outputs"][1]["rows"].size(), 16u);
  EXPECT_FALSE(check["outputs"][1]["rows"][0]["part"].is_null());
  EXPECT_TRUE(check["outputs"][2]["rows"][0]["part"].is_null());
  EXPECT_EQ(check["top1"]["decided"], check["outputs"][0]["top1"]["decided"]);
  const Outcome text = run_zoo({folder.path(), "--check"});
  EXPECT_NE(text.out.find("map           6x4x4"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("number        one value"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("PASSED: 16 of 16 rows"), std::string::npos) << text.out;
}

TEST(RunOutputs, AreProvedInAnyBatch) {
  const TempFolder folder;
  for (const int64_t batch : {1, 5, 32}) {
    TinyNetwork network = several();
    network.min_batch = network.max_batch = batch;
    network.hostile_rows = 2;
    write_network(folder.path(), network);
    check_json(folder.path(), 0);
  }
}

TEST(RunOutputs, AFaultInAnyOfThemIsFound) {
  const TempFolder folder;
  const auto failed = [&](const TinyNetwork& network, const std::string& name) {
    write_network(folder.path(), network);
    for (const Json& output : check_json(folder.path(), 1)["outputs"]) {
      EXPECT_EQ(output["verdict"], output["name"] == name ? "FAILED" : "PASSED") << output["name"];
    }
  };
  failed(changed("y.sum(1)", "y.sum(1) + 1e-5"), "number");
  failed(changed("(y, m,", "(y + 1e-5, m,"), "y");
  failed(changed("(y, m,", "(y, m + 1e-5,"), "map");
  failed(changed(", -m)", ", -m + 1e-5)"), "other");
  failed(changed(", -m)", ", m)"), "other");
}

// The first row of one channel is 3e-6 off: 0.6e-6 of the whole, whose bound is 1.2e-6.
TEST(RunOutputs, AWrongBorderRowIsFound) {
  const TempFolder folder;
  write_network(folder.path(), changed("  return",
                                       "  b = torch.zeros(6, 4, 4)\n  b[2, 0] = 3e-6\n"
                                       "  return (y, m + b, y.sum(1), -m)\n  return"));
  const Json map = check_json(folder.path(), 1)["outputs"][1];
  EXPECT_EQ(map["verdict"], "FAILED");
  EXPECT_TRUE(map["worst"].get<std::string>().ends_with(", channel 2, border")) << map["worst"];
  for (const Json& row : map["rows"]) EXPECT_LT(row["ratio"].get<double>(), 1);
}

TEST(RunOutputs, ExchangedOnesAreFound) {
  const TempFolder folder;
  write_network(folder.path(), changed("(y, m, y.sum(1), -m)", "(y, -m, y.sum(1), m)"));
  check_json(folder.path(), 1);
  write_network(folder.path(), changed("(y, m, y.sum(1), -m)", "(y, y.sum(1), m, -m)"));
  testing::expect_refusal({folder.path(), "--check"}, 3,
                          "float32 [16] as 'map', the manifest says");
}

TEST(RunOutputs, MustBeAsManyTensorsAsTheManifestSays) {
  const TempFolder folder;
  for (const auto& [result, part] : std::vector<std::pair<std::string, std::string>>{
           {"(y, m, -m)", "returned 3 tensors, the manifest says 4"},
           {"(y, m, y.sum(1), -m, m)", "returned 5 tensors"},
           {"y", "returned 1 tensors"},
           {"(y, m, 3, -m)", "returned a Int, a tensor or a tuple of tensors is wanted"},
           {"[y, m]", "returned a GenericList"},
           {"(y, m, y.sum(1), -m.double())", "float64 [16, 6, 4, 4] as 'other'"}}) {
    write_network(folder.path(), changed("(y, m, y.sum(1), -m)", result));
    testing::expect_refusal({folder.path(), "--check"}, 3, part);
  }
  testing::expect_refusal({folder.path(), "--iterations", "1"}, 3, "float64");
}

TEST(RunOutputs, GoldenMustHoldEachUnderItsName) {
  const TempFolder folder;
  write_network(folder.path(), several());
  const std::string golden = read_file(folder / kGoldenFile);
  const Json manifest = Json::parse(read_file(folder / "manifest.json"));
  for (const char* key : {"oracle/map", "oracle/number", "positions/other", "e_eager/map"}) {
    std::string renamed = golden;
    renamed[renamed.find(key)] = 'Q';
    testing::write_artifact(folder.path(), manifest,
                            {{"model.ts", read_file(folder / "model.ts")}, {kGoldenFile, renamed}});
    testing::expect_refusal({folder.path(), "--check"}, 3, key);
  }
}

TEST(RunOutputs, AreWrittenUnderTheirNames) {
  const TempFolder folder;
  const TempFolder results;
  TinyNetwork network = several();
  network.max_batch = 3;
  write_network(folder.path(), network);
  testing::write_counting(results / "x.npy", {7, 1, 2, 2});
  std::vector<std::string> run = {folder.path(), "--input", results / "x.npy", "--output",
                                  results / "y.safetensors"};
  const Outcome outcome = run_zoo(run);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("float32 [7, 6, 4, 4]  map"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("float32 [7]  number"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("row  class"), std::string::npos) << outcome.out;

  const std::string bytes = read_file(results / "y.safetensors");
  const auto tensors = parse_safetensors(testing::as_bytes(bytes), "y");
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "y");
  EXPECT_EQ(tensors[3].name, "other");
  EXPECT_EQ(tensors[2].shape, std::vector<int64_t>{7});
  ASSERT_EQ(tensors[1].shape, (std::vector<int64_t>{7, 6, 4, 4}));
  const at::Tensor y =
      at::arange(28, at::kFloat).reshape({7, 4}).matmul(at::linspace(-1, 1, 12).reshape({4, 3}));
  const at::Tensor map = y.repeat({1, 32});
  for (size_t i = 0; i < 7 * 96; ++i) {
    const float wanted = map.const_data_ptr<float>()[i];
    EXPECT_FLOAT_EQ(value_at<float>(tensors[1], i), wanted);
    EXPECT_FLOAT_EQ(value_at<float>(tensors[3], i), -wanted);
  }
  run.back() = results / "y.npy";
  testing::expect_refusal(run, 2, "has 4 outputs and .npy holds one");
  EXPECT_FALSE(std::filesystem::exists(results / "y.npy"));
}

TEST(RunOutputs, NeedNotBeContiguous) {
  const TempFolder folder;
  const TempFolder results;
  TinyNetwork network = changed("y.sum(1), -m)",
                                "y.sum(1), -m.permute(0, 2, 3, 1).contiguous()"
                                ".permute(0, 3, 1, 2))");
  write_network(folder.path(), network);
  check_json(folder.path(), 0);
  const Outcome outcome = run_zoo({folder.path(), "--iterations", "3", "--json", "-"});
  EXPECT_EQ(Json::parse(outcome.out)["output_stable"], true) << outcome.err;
}

TEST(RunOutputs, AreMeasuredTogether) {
  const TempFolder folder;
  write_network(folder.path(), several());
  const auto measured = [&] {
    const Outcome outcome = run_zoo({folder.path(), "--iterations", "20", "--json", "-"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  EXPECT_EQ(measured()["output_stable"], true);
  write_network(folder.path(), changed(", -m)", ", -m + torch.rand(6, 4, 4))"));
  const Json random = measured();
  EXPECT_EQ(random["output_stable"], false);
  EXPECT_GT(random["output_max_abs_difference"].get<double>(), 0.1);
}

TEST(RunOutputs, ClassesAreThoseOfTheOutputThatHasThem) {
  const TempFolder folder;
  const TempFolder results;
  TinyNetwork network = several();
  write_network(folder.path(), network);
  testing::write_counting(results / "x.npy", {2, 1, 2, 2});
  Json manifest = Json::parse(read_file(folder / "manifest.json"));
  // The same network with the classes behind a map.
  network.body = "y = torch.flatten(x, 1).matmul(self.w)\n  return (y.repeat(1, 2), y)";
  network.more = {{"pairs", {6}, [](const at::Tensor& y) { return y.repeat({1, 2}); }}};
  write_network(folder.path(), network);
  manifest = Json::parse(read_file(folder / "manifest.json"));
  for (Json* list : {&manifest["outputs"], &manifest["parity"]["outputs"]}) {
    std::swap((*list)[0], (*list)[1]);
  }
  testing::write_manifest(folder.path(), manifest.dump());
  check_json(folder.path(), 0);
  const Outcome outcome = run_zoo({folder.path(), "--input", results / "x.npy", "--json", "-"});
  const Json top1 = Json::parse(outcome.out)["run"]["top1"];
  ASSERT_EQ(top1.size(), 2u);
  EXPECT_EQ(top1[0]["class"], "c");
}

}  // namespace
}  // namespace zoo
