#include "report/report.h"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "fixtures.h"

namespace zoo {
namespace {

Subject make_subject() {
  Subject subject;
  subject.artifact = "artifacts/\xff";  // a path need not be UTF-8
  subject.model = "tiny\x1b[2J" + std::string(200, 'm');
  subject.backend = "inductor";
  subject.precision = "fp32";
  subject.device = "cpu";
  subject.batch = 2;
  subject.conditions = observe_conditions(1);
  return subject;
}

Measurement make_measurement(size_t count) {
  Measurement measurement;
  measurement.samples_ns.assign(count, 1'000'000);
  measurement.steady_ns = measurement.system_ns = static_cast<int64_t>(count) * 1'000'000;
  return measurement;
}

Report measured(size_t count, bool strict = false) {
  const std::vector<Percentile> asked = {{95'000}};
  return report_measurement(make_subject(), make_measurement(count), {true, 0.0}, asked, strict);
}

void expect_narrow_and_clean(const std::string& text) {
  std::istringstream lines(text);
  for (std::string row; std::getline(lines, row);) {
    EXPECT_LE(row.size(), 80u) << row;
    EXPECT_EQ(row.find('\x1b'), std::string::npos);
    EXPECT_FALSE(row.ends_with(' ')) << "'" << row << "'";
  }
}

TEST(Report, MeasurementHoldsTheContractsKeys) {
  const Report report = measured(1000);
  const OrderedJson& json = report.document;
  EXPECT_EQ(json["schema"], "1.0");
  EXPECT_EQ(json["verdict"], "VALID");
  EXPECT_DOUBLE_EQ(json["latency_ms"]["median"].get<double>(), 1.0);
  EXPECT_EQ(json["latency_ms"]["median_interval"].size(), 2u);
  EXPECT_EQ(json["latency_ms"]["n"], 1000);
  EXPECT_DOUBLE_EQ(json["throughput_per_s"].get<double>(), 2000);
  EXPECT_EQ(json["samples_ns"].size(), 1000u);
  for (const char* key : {"p90", "p95", "p99", "min", "max", "mean", "cov"}) {
    EXPECT_TRUE(json["latency_ms"][key].is_number()) << key;
  }
  for (const char* key :
       {"artifact", "model", "backend", "precision", "device", "batch", "load_ms", "first_call_ms",
        "second_call_ms", "warmup", "drift", "clock_skew", "peak_rss_bytes", "file_bytes",
        "output_stable", "reasons", "conditions"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  expect_narrow_and_clean(report.text);
}

TEST(Report, WhatAGpuTimedStandsBesideTheWallClock) {
  Measurement measurement = make_measurement(1000);
  EXPECT_TRUE(measured(1000).document["gpu_latency_ms"].is_null());
  measurement.gpu_samples_ns.assign(1000, 750'000);
  Subject subject = make_subject();
  subject.cuda_graph = true;
  const Report report = report_measurement(subject, measurement, {true, 0.0}, {}, false);
  const OrderedJson& json = report.document;
  EXPECT_DOUBLE_EQ(json["gpu_latency_ms"]["median"].get<double>(), 0.75);
  EXPECT_DOUBLE_EQ(json["latency_ms"]["median"].get<double>(), 1.0);
  for (const auto& [key, value] : json["latency_ms"].items()) {
    EXPECT_TRUE(json["gpu_latency_ms"].contains(key)) << key;
  }
  EXPECT_EQ(json["gpu_samples_ns"].size(), 1000u);
  EXPECT_EQ(json["cuda_graph"], true);
  EXPECT_NE(report.text.find("events: median 0.7500, 95 % interval"), std::string::npos);
  expect_narrow_and_clean(report.text);
}

TEST(Report, WhatIsNotKnownIsNull) {
  const Report report = measured(1);
  EXPECT_EQ(report.document["verdict"], "INVALID");
  EXPECT_TRUE(report.document["latency_ms"]["p90"].is_null());
  EXPECT_TRUE(report.document["latency_ms"]["median_interval"].is_null());
  EXPECT_TRUE(report.document["latency_ms"]["cov"].is_null());
  EXPECT_TRUE(report.document["drift"].is_null());
  EXPECT_EQ(report.exit_code, ExitCode::kDone);
  EXPECT_EQ(measured(1, true).exit_code, ExitCode::kCheckFailed);
  EXPECT_EQ(measured(100, true).exit_code, ExitCode::kDone);
  expect_narrow_and_clean(report.text);
}

TEST(Report, AFlawOfTheCallsMakesThemInvalid) {
  Measurement measurement = make_measurement(1000);
  measurement.flaw = "repacks 53 weights on every call: built for other threads, CPU or batch";
  const Report report = report_measurement(make_subject(), measurement, {true, 0.0}, {}, true);
  EXPECT_EQ(report.document["verdict"], "INVALID");
  EXPECT_EQ(report.document["reasons"], OrderedJson::array({measurement.flaw}));
  EXPECT_EQ(report.exit_code, ExitCode::kCheckFailed);
  expect_narrow_and_clean(report.text);
}

TEST(Report, AComparisonNamesTheFirstAsTheMeasure) {
  Compared first{.subject = describe(make_subject()), .rounds_ns = {}, .calls = 88};
  first.rounds_ns.assign(11, 1'000'000);
  Compared second = first;
  second.rounds_ns.assign(11, 1'200'000);
  second.flaw = "repacks 53 weights on every call: built for other threads, CPU or batch";
  const Report report =
      report_comparison({.seed = 5, .seconds = 6, .programs = {first, second, first}});
  const OrderedJson& programs = report.document["programs"];
  EXPECT_TRUE(programs[0]["ratio"].is_null());
  EXPECT_EQ(programs[1]["ratio"]["verdict"], "slower");
  EXPECT_DOUBLE_EQ(programs[1]["ratio"]["value"].get<double>(), 1.2);
  EXPECT_EQ(programs[1]["verdict"], "INVALID");
  EXPECT_EQ(programs[2]["ratio"]["verdict"], "no difference shown");
  EXPECT_EQ(programs[2]["rounds_ms"], OrderedJson(std::vector<double>(11, 1.0)));
  EXPECT_EQ(report.exit_code, ExitCode::kDone);
  EXPECT_NE(report.text.find("INVALID B: repacks 53"), std::string::npos) << report.text;
  expect_narrow_and_clean(report.text);
}

// Two rows of an output of classes, with these errors and a bound of 0.02.
OutputResult classes_output(double first, double second) {
  OutputResult result{.name = "y", .shape = {2}, .rows = {}, .num_ordinary_decided = 2};
  for (const double error : {first, second}) {
    result.rows.push_back({.kind = "real", .whole = {error, 0.02}, .part = {}});
    result.rows.back().within_bounds = error <= 0.02;
    result.rows.back().decided = result.rows.back().agreed = true;
  }
  return result;
}

// Two rows of a map; the border of channel 17 is 0.04 off in the second where it fails.
OutputResult map_output(bool fails) {
  OutputResult result{.name = "c3", .shape = {512, 28, 28}, .rows = {}, .has_classes = false};
  for (const double error : {0.01, fails ? 0.04 : 0.018}) {
    PartError part{{error, 0.02}, 17, 17, true};
    result.rows.push_back({.kind = "normal", .whole = {0.001, 0.02}, .part = part});
    result.rows.back().within_bounds = error <= 0.02;
  }
  return result;
}

TEST(Report, CheckSaysWhatFailed) {
  Parity parity;
  parity.k = 2;
  parity.gates = {{std::string(100, 'g'), 0.5, 1.0, true}};
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  const ProgramCheck good{"a.ts", 1, {classes_output(0, 0)}};
  const ProgramCheck bad{"b.ts", 2, {classes_output(0, nan)}};
  const Report passed = report_check(make_subject(), parity, {good});
  EXPECT_EQ(passed.exit_code, ExitCode::kDone);
  EXPECT_EQ(passed.document["check"]["verdict"], "PASSED");
  EXPECT_EQ(passed.document["check"]["samples"].size(), 2u);
  EXPECT_NE(passed.text.find("PASSED: 2 of 2 rows"), std::string::npos) << passed.text;

  const Report failed = report_check(make_subject(), parity, {good, bad});
  EXPECT_EQ(failed.exit_code, ExitCode::kCheckFailed);
  EXPECT_EQ(failed.document["check"]["file"], "b.ts");
  EXPECT_TRUE(failed.document["check"]["samples"][1]["rmse"].is_null());
  EXPECT_EQ(failed.document["check"]["programs"].size(), 2u);
  EXPECT_EQ(dump_json(failed.document).find("NaN"), std::string::npos);
  expect_narrow_and_clean(failed.text);

  Subject subject = make_subject();
  subject.status = Status::kAccepted;
  const Report accepted = report_check(subject, parity, {good});
  EXPECT_EQ(accepted.exit_code, ExitCode::kCheckFailed);
  EXPECT_EQ(accepted.document["status"], "accepted");
  EXPECT_EQ(accepted.document["check"]["verdict"], "FAILED");
  EXPECT_NE(accepted.text.find("FAILED: status accepted"), std::string::npos);
  expect_narrow_and_clean(accepted.text);
}

TEST(Report, CheckSaysWhichPartOfWhichOutputFailed) {
  const ProgramCheck good{"a.ts", 1, {classes_output(0, 0.01), map_output(false)}};
  const Report passed = report_check(make_subject(), {}, {good});
  EXPECT_EQ(passed.exit_code, ExitCode::kDone);
  EXPECT_NE(passed.text.find("PASSED: 2 of 2 rows pass, top-1"), std::string::npos) << passed.text;
  EXPECT_NE(
      passed.text.find("c3            512x28x28             0.900  1 normal, channel 17, border"),
      std::string::npos)
      << passed.text;
  expect_narrow_and_clean(passed.text);

  const ProgramCheck bad{"a.ts", 1, {classes_output(0, 0.01), map_output(true)}};
  const Report failed = report_check(make_subject(), {}, {bad});
  EXPECT_EQ(failed.exit_code, ExitCode::kCheckFailed);
  EXPECT_NE(failed.text.find("FAILED: c3, channel 17"), std::string::npos) << failed.text;
  EXPECT_NE(failed.text.find("FAILED: 1 of 2 rows pass"), std::string::npos) << failed.text;
  const OrderedJson& check = failed.document["check"];
  EXPECT_EQ(check["samples"][0]["passed"], true);
  EXPECT_EQ(check["samples"][1]["passed"], false);
  EXPECT_DOUBLE_EQ(check["samples"][1]["ratio"].get<double>(), 2);
  const OrderedJson& map = check["outputs"][1];
  EXPECT_EQ(map["name"], "c3");
  EXPECT_EQ(map["shape"], (OrderedJson{512, 28, 28}));
  EXPECT_EQ(map["verdict"], "FAILED");
  EXPECT_DOUBLE_EQ(map["ratio"].get<double>(), 2);
  EXPECT_EQ(map["worst"], "normal, channel 17, border");
  EXPECT_TRUE(map["top1"].is_null());
  EXPECT_DOUBLE_EQ(map["rows"][1]["rmse"].get<double>(), 0.001);
  EXPECT_EQ(map["rows"][1]["part"]["channels"], (OrderedJson{17, 17}));
  EXPECT_TRUE(check["outputs"][0]["rows"][1]["part"].is_null());
  expect_narrow_and_clean(failed.text);
}

TEST(Report, CheckSaysWhatFailedOfAMapAlone) {
  const Report failed = report_check(make_subject(), {}, {{"a.ts", 1, {map_output(true)}}});
  EXPECT_NE(failed.text.find("FAILED: channel 17, border"), std::string::npos) << failed.text;
  EXPECT_EQ(failed.text.find("top-1"), std::string::npos) << failed.text;
  expect_narrow_and_clean(failed.text);
}

TEST(Report, OutputsFromAManifestStayInTheirLines) {
  OutputResult output = map_output(true);
  output.name = "tiny\x1b[2J" + std::string(200, 'm');
  output.rows[1].kind = std::string(200, 'k') + "\n";
  const ProgramCheck check{"a.ts", 1, {output, classes_output(0, 1)}};
  expect_narrow_and_clean(report_check(make_subject(), {}, {check}).text);
  const std::vector<Output> outputs = {{output.name, {2, 3}, {}}, {"y", {}, {}}};
  const Report run = report_inference(make_subject(), {.rows = 7, .outputs = outputs});
  EXPECT_NE(run.text.find("float32 [7, 2, 3]  tiny?[2J"), std::string::npos) << run.text;
  EXPECT_NE(run.text.find("float32 [7]  y"), std::string::npos) << run.text;
  expect_narrow_and_clean(run.text);
}

TEST(Report, InferenceNamesClassesWhereThereAreSome) {
  const Report plain = report_inference(make_subject(), {.rows = 3});
  EXPECT_NE(plain.text.find("3 rows in all"), std::string::npos) << plain.text;
  EXPECT_EQ(plain.document["run"]["rows"], 3);
  const Report named = report_inference(
      make_subject(), {.rows = 1, .top1 = {{1, 0.5f}}, .classes = {"a", "b"}, .output = "y.npy"});
  EXPECT_EQ(named.document["run"]["top1"][0]["class"], "b");
  EXPECT_NE(named.text.find("wrote y.npy"), std::string::npos);
  expect_narrow_and_clean(named.text);
}

TEST(Report, PicturesAreSaidAsZooPredictSaysThem) {
  Inference inference{.rows = 2, .top1 = {{1, 5}, {0, 4}}, .classes = {"cat", "\x1b[2Jdog"}};
  inference.images = {{"a.jpg", {{1, 0.512}, {0, 0.488}}}, {"b\n.jpg", {{0, 1}}}};
  inference.saved_input = "x.npy";
  const Report named = report_inference(make_subject(), inference);
  EXPECT_NE(named.text.find("\na.jpg: ?[2Jdog (51.2 %; then cat 48.8 %)\n"), std::string::npos)
      << named.text;
  EXPECT_NE(named.text.find("\nb?.jpg: cat (100.0 %)\nwrote x.npy\n"), std::string::npos);
  const Json images = named.document["run"]["images"];
  EXPECT_EQ(images[1]["image"], "b\n.jpg");
  EXPECT_EQ(images[0]["classes"][0]["class"], "\x1b[2Jdog");
  EXPECT_EQ(images[0]["classes"][1]["index"], 0);
  EXPECT_EQ(images[0]["classes"][1]["probability"], 0.488);
  EXPECT_EQ(named.document["run"]["saved_input"], "x.npy");
  expect_narrow_and_clean(named.text);

  inference.classes.clear();
  const Report numbered = report_inference(make_subject(), inference);
  EXPECT_NE(numbered.text.find("a.jpg: class 1 (51.2 %"), std::string::npos) << numbered.text;
  EXPECT_TRUE(numbered.document["run"]["images"][0]["classes"][0]["class"].is_null());
}

TEST(Report, PublishesToOnePlaceOnly) {
  const testing::TempFolder folder;
  const Report report = measured(10);
  Options options;
  std::ostringstream text;
  options.json = folder / "r.json";
  write_report(report, options, text);
  EXPECT_EQ(text.str(), report.text);
  EXPECT_EQ(Json::parse(testing::read_file(folder / "r.json"))["latency_ms"]["n"], 10);

  std::ostringstream only_json;
  options.json = "-";
  write_report(report, options, only_json);
  EXPECT_TRUE(Json::accept(only_json.str()));

  std::ostringstream nothing;
  options.json = "";
  options.quiet = true;
  write_report(report, options, nothing);
  EXPECT_EQ(nothing.str(), "");

  std::ostringstream closed;
  options.quiet = false;
  closed.setstate(std::ios::badbit);
  EXPECT_REFUSED(ExitCode::kMachineLacks, "stdout", write_report(report, options, closed));
}

}  // namespace
}  // namespace zoo
