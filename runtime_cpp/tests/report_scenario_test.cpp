#include "report/report_scenario.h"

#include <gtest/gtest.h>

#include <sstream>

namespace zoo {
namespace {

Subject make_subject() {
  Subject subject;
  subject.artifact = "artifacts/a";
  subject.model = "resnet18" + std::string(90, 'm');
  subject.backend = "inductor";
  subject.precision = "fp32";
  subject.device = "cpu";
  subject.batch = 4;
  subject.conditions = observe_conditions(2);
  return subject;
}

ScenarioReport make_report(Scenario scenario) {
  ScenarioReport report{.plan = {.scenario = scenario, .seed = 3}, .streams = 2, .threads = 1};
  report.result.run = {.samples_ns = std::vector<int64_t>(1200, 123'456'789'000),
                       .calls = 1200,
                       .steady_ns = 120'000'000'000,
                       .system_ns = 120'000'000'000};
  report.result.warmup.calls = 20;
  report.result.repetition = {.ratio = Ratio{1.001, 0.999, 1.002}, .calls = 33};
  return report;
}

ScenarioReport make_server() {
  ScenarioReport report = make_report(Scenario::kServer);
  report.plan.p99_ms = 50;
  report.result.rate = 12.5;
  report.result.search = {
      {.rate_per_s = 1e6, .queries = 11},
      {.rate_per_s = 12.5, .queries = 1000, .p99_ns = 12'345'678, .passed = true},
      {.rate_per_s = 12.5, .queries = 1000, .p99_ns = 49'000'000, .passed = true, .confirms = true},
  };
  return report;
}

Report reported(const ScenarioReport& scenario, bool strict = false) {
  const std::vector<Percentile> asked = {{99'900}};
  return report_scenario(make_subject(), scenario, asked, strict);
}

void expect_narrow(const std::string& text) {
  std::istringstream lines(text);
  for (std::string row; std::getline(lines, row);) {
    EXPECT_LE(row.size(), 60u) << row;
    EXPECT_FALSE(row.ends_with(' ')) << "'" << row << "'";
  }
}

TEST(ReportScenario, HasTheSameKeysInEveryScenario) {
  const OrderedJson offline = reported(make_report(Scenario::kOffline)).document;
  const OrderedJson server = reported(make_server()).document;
  for (const auto& [key, value] : offline.items()) EXPECT_TRUE(server.contains(key)) << key;
  EXPECT_EQ(offline.size(), server.size());
  for (const char* key : {"artifact", "backend", "batch", "conditions", "peak_rss_bytes"}) {
    EXPECT_TRUE(offline.contains(key)) << key;
  }
  EXPECT_EQ(offline["scenario"], "offline");
  EXPECT_DOUBLE_EQ(offline["throughput_per_s"].get<double>(), 40);  // 1200 calls of 4 in 120 s
  EXPECT_TRUE(offline["rate_per_s"].is_null());
  EXPECT_TRUE(server["throughput_per_s"].is_null());
  EXPECT_EQ(server["rate_per_s"], 12.5);
  EXPECT_EQ(server["p99_bound_ms"], 50);
  EXPECT_EQ(server["search"].size(), 3u);
  EXPECT_TRUE(server["search"][0]["p99_ms"].is_null());
  EXPECT_EQ(server["search"][2]["confirms"], true);
  EXPECT_EQ(server["samples_ns"].size(), 1200u);
  EXPECT_EQ(server["answers"]["checked"], 1253);
  EXPECT_EQ(server["latency_ms"]["n"], 1200);
  EXPECT_TRUE(server["latency_ms"].contains("p99"));
}

TEST(ReportScenario, AQueryOfMultiStreamHasACallInEachStream) {
  EXPECT_EQ(reported(make_report(Scenario::kMultiStream)).document["samples_per_query"], 8);
  EXPECT_EQ(reported(make_report(Scenario::kOffline)).document["samples_per_query"], 4);
}

TEST(ReportScenario, FitsInSixtyColumns) {
  for (const Scenario scenario : {Scenario::kMultiStream, Scenario::kOffline}) {
    expect_narrow(reported(make_report(scenario)).text);
  }
  ScenarioReport server = make_server();
  server.cores = std::vector<std::vector<int>>(40, {1, 2});
  server.result.reasons = {std::string(40, 'a') + " " + std::string(70, 'b') + " c"};
  const std::string text = reported(server).text;
  expect_narrow(text);
  EXPECT_NE(text.find("again"), std::string::npos) << text;
  EXPECT_NE(text.find("pinned to cores 1,2; 1,2"), std::string::npos) << text;
}

TEST(ReportScenario, AReasonMakesItInvalid) {
  ScenarioReport scenario = make_report(Scenario::kOffline);
  EXPECT_EQ(reported(scenario, true).exit_code, ExitCode::kDone);
  EXPECT_EQ(reported(scenario).document["verdict"], "VALID");
  scenario.result.reasons = {"1 of 40 answers differ"};
  scenario.flaws = {"the outputs fail the proof"};
  const Report report = reported(scenario, true);
  EXPECT_EQ(report.exit_code, ExitCode::kCheckFailed);
  EXPECT_EQ(report.document["verdict"], "INVALID");
  EXPECT_EQ(report.document["reasons"].size(), 2u);
  EXPECT_NE(report.text.find("1 of 40 answers differ"), std::string::npos);
}

}  // namespace
}  // namespace zoo
