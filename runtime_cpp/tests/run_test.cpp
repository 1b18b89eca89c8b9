// zoo-run as a user runs it: a process, its exit code, what it prints.
#include <ATen/ATen.h>
#include <signal.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include "libraries.h"
#include "run_fixtures.h"
#include "stats.h"

namespace zoo {
namespace {

using testing::Outcome;
using testing::read_file;
using testing::run_zoo;
using testing::TempFolder;
using testing::TinyNetwork;
using testing::write_network;

TEST(Run, MeasuresAndSaysHow) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo({folder.path(), "--iterations", "200", "--threads", "1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("median"), std::string::npos) << outcome.out;
}

TEST(Run, ReportsInJsonWhatItMeasured) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo(
      {folder.path(), "--iterations", "50", "--json", "-", "--threads", "1", "--batch", "3"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  const auto samples = json["samples_ns"].get<std::vector<int64_t>>();
  EXPECT_EQ(samples.size(), 50u);
  EXPECT_EQ(json["batch"], 3);
  EXPECT_EQ(json["conditions"]["threads"], 1);
  EXPECT_EQ(json["output_stable"], true);
  const Summary summary = summarize(samples, {});
  EXPECT_DOUBLE_EQ(json["latency_ms"]["median"].get<double>(),
                   static_cast<double>(summary.median) / 1e6);
}

TEST(Run, ChecksAgainstTheOracle) {
  const TempFolder folder;
  write_network(folder.path());
  const Outcome outcome = run_zoo({folder.path(), "--check"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("PASSED: 16 of 16 rows"), std::string::npos) << outcome.out;
}

TEST(Run, CheckFindsPlantedFaults) {
  const auto code = [](const TinyNetwork& network) {
    const TempFolder folder;
    write_network(folder.path(), network);
    const Outcome outcome = run_zoo({folder.path(), "--check", "--json", "-"});
    EXPECT_EQ(Json::parse(outcome.out)["check"]["verdict"],
              outcome.exit_code == 0 ? "PASSED" : "FAILED");
    return outcome.exit_code;
  };
  EXPECT_EQ(code({}), 0);
  EXPECT_EQ(code({.min_batch = 5, .max_batch = 5}), 0);
  EXPECT_EQ(code({.min_batch = 32, .max_batch = 32}), 0);
  EXPECT_EQ(code({.weight_error = 1e-4f}), 1);
  EXPECT_EQ(code({.oracle_error = 1e-5}), 1);
  EXPECT_EQ(code({.body = "return torch.flatten(x, 1).matmul(self.w) * float('nan')"}), 1);
  EXPECT_EQ(code({.body = "return torch.flatten(x, 1).matmul(self.w) / 0"}), 1);
}

TEST(Run, WritesOutputsThatEqualTheProgramsOwn) {
  const TempFolder folder;
  write_network(folder.path());
  testing::write_tensor(folder / "x.pt", {130, 1, 2, 2});  // two calls of 64 and one of 2
  const Outcome outcome =
      run_zoo({folder.path(), "--input", folder / "x.pt", "--output", folder / "y.pt"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string bytes = read_file(folder / "y.pt");
  const at::Tensor output =
      torch::jit::pickle_load(std::vector<char>(bytes.begin(), bytes.end())).toTensor();
  const at::Tensor input = at::arange(520, at::kFloat).reshape({130, 4});
  const at::Tensor wanted = input.matmul(at::linspace(-1, 1, 12).reshape({4, 3}));
  EXPECT_EQ(output.sizes(), wanted.sizes());
  EXPECT_TRUE(at::allclose(output, wanted));
}

TEST(Run, LoadsTheLibrariesThatAProgramNeeds) {
  const std::string library = ZOO_TEST_OPERATOR;
  const size_t slash = library.rfind('/');
  const std::string name = library.substr(slash + 1);
  const std::string place = library.substr(0, slash);
  load_libraries({library}, {});  // to be able to write the program at all
  const TempFolder folder;
  TinyNetwork network;
  network.body = "return project(x, self.w)";
  write_network(folder.path(), network);
  testing::expect_refusal({folder.path(), "--check"}, 3, "zoo_test");
  network.load_first = {name};
  write_network(folder.path(), network);
  testing::expect_refusal({folder.path(), "--check"}, 4, name);
  EXPECT_EQ(run_zoo({folder.path(), "--check", "--library-path", place}).exit_code, 0);
}

TEST(Run, StopsOnSignalsAndLeavesNothing) {
  const TempFolder folder;
  write_network(folder.path());
  const std::vector<std::string> forever = {folder.path(), "--duration", "3600", "--json",
                                            folder / "r.json"};
  EXPECT_EQ(testing::signal_zoo(forever, SIGINT).exit_code, 130);
  EXPECT_EQ(testing::signal_zoo(forever, SIGTERM).exit_code, 143);
  EXPECT_FALSE(std::filesystem::exists(folder / "r.json"));
}

TEST(Run, StrictFailsOnAnInvalidMeasurement) {
  const TempFolder folder;
  write_network(folder.path());
  EXPECT_EQ(run_zoo({folder.path(), "--iterations", "3", "--strict"}).exit_code, 1);
  const Outcome lax = run_zoo({folder.path(), "--iterations", "3"});
  EXPECT_EQ(lax.exit_code, 0);
  EXPECT_NE(lax.out.find("INVALID"), std::string::npos);
}

}  // namespace
}  // namespace zoo
