#include "options.h"

#include <gtest/gtest.h>

#include <sstream>

#include "fixtures.h"

namespace zoo {
namespace {

Options parse(std::vector<std::string> arguments) {
  std::vector<const char*> argv = {"zoo-run"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return parse_options(static_cast<int>(argv.size()), argv.data(), "zoo-run 1.2.3");
}

void expect_usage(const std::vector<std::string>& arguments, const std::string& part) {
  EXPECT_REFUSED(ExitCode::kUsage, part, parse(arguments));
}

TEST(Options, Defaults) {
  const Options options = parse({"folder"});
  EXPECT_EQ(options.artifacts, std::vector<std::string>{"folder"});
  EXPECT_FALSE(options.batch || options.threads || options.warmup || options.duration_s);
  EXPECT_FALSE(options.check || options.strict || options.quiet);
  EXPECT_EQ(options.percentiles.size(), 4u);
}

TEST(Options, EveryFlag) {
  const Options options = parse({"--batch",     "8",
                                 "--threads=2", "--warmup",
                                 "0",           "--iterations",
                                 "5",           "--duration",
                                 "0.5",         "--percentiles",
                                 "90,99.9",     "--device",
                                 "cpu",         "--cuda-graph",
                                 "--strict",    "--json",
                                 "-",           "--library-path",
                                 "a",           "--library-path",
                                 "b",           "--quiet",
                                 "folder"});
  EXPECT_EQ(options.batch, 8);
  EXPECT_EQ(options.threads, 2);
  EXPECT_EQ(options.warmup, 0);
  EXPECT_EQ(options.iterations, 5);
  EXPECT_EQ(options.duration_s, 0.5);
  EXPECT_EQ(options.percentiles[1].thousandths, 99'900);
  EXPECT_TRUE(options.cuda_graph && options.strict && options.quiet && options.json_to_stdout());
  EXPECT_EQ(options.library_path, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(options.artifacts, std::vector<std::string>{"folder"});
  EXPECT_TRUE(parse({"a", "--input", "x.npy", "--output", "y.safetensors", "--allow-nonfinite"})
                  .allow_nonfinite);
}

TEST(Options, SeveralArtifactsAreCompared) {
  const Options options = parse({"a", "b", "--rounds", "6", "--seed", "0", "--duration", "2", "c"});
  EXPECT_EQ(options.artifacts, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(options.compares());
  EXPECT_EQ(options.rounds, 6);
  EXPECT_FALSE(parse({"a"}).compares());
  for (const char* flag : {"--check", "--strict"})
    expect_usage({"a", "b", flag}, "give one ARTIFACT");
  expect_usage({"a", "b", "--input", "x.npy"}, "give one ARTIFACT");
  expect_usage({"a", "b", "--warmup", "3"}, "give one ARTIFACT");
  expect_usage({"a", "b", "--iterations", "3"}, "give one ARTIFACT");
  expect_usage({"a", "b", "--rounds", "5"}, "from 6 to 1000");
  EXPECT_TRUE(parse({"a", "--rounds", "6"}).compares());
  expect_usage({"a", "--seed", "6"}, "give several artifacts");
  expect_usage({"a", ""}, "ARTIFACT");
  expect_usage(std::vector<std::string>(17, "a"), "at most 16");
}

TEST(Options, BadNumbersNameTheFlagAndTheRange) {
  for (const char* flag : {"--batch", "--threads", "--iterations", "--duration"}) {
    for (const char* value : {"0", "-1", "nan", "1e18", "", "3x", " 3", "0x10", "+3", "inf",
                              "99999999999999999999", "\xd9\xa3"}) {
      expect_usage({"a", flag, value}, flag);
    }
  }
  expect_usage({"a", "--warmup", "-1"}, "from 0 to 10000000");
  expect_usage({"a", "--threads", "1025"}, "from 1 to 1024");
  expect_usage({"a", "--duration", "86401"}, "from 0.001 to 86400");
  expect_usage({"a", "--threads", std::string(1 << 20, '9')}, "--threads");
}

TEST(Options, BadPercentiles) {
  for (const char* value : {"", "0", "100", "-1", "50,", ",50", "x", "99.9999", "5e1", "nan",
                            "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"}) {
    expect_usage({"a", "--percentiles", value}, "--percentiles");
  }
}

TEST(Options, UnknownRepeatedAndMissing) {
  expect_usage({"a", "--no-such-flag"}, "--no-such-flag");
  expect_usage({}, "ARTIFACT");
  expect_usage({"a", "--batch"}, "--batch");
  expect_usage({"a", "--batch", "1", "--batch", "2"}, "--batch");
  expect_usage({"a", "--device", "tpu"}, "cpu or cuda");
  expect_usage({"a", "--check", "--check"}, "--check");
  expect_usage({"a", "--check=false"}, "check");
}

TEST(Options, WhatDoesNotGoTogether) {
  expect_usage({"a", "--input", "x.npy", "--check"}, "--input and --check");
  expect_usage({"a", "--output", "y.npy"}, "--output");
  expect_usage({"a", "--allow-nonfinite"}, "--allow-nonfinite");
  expect_usage({"a", "--check", "--duration", "1"}, "--duration");
  expect_usage({"a", "--check", "--strict"}, "--strict");
  expect_usage({"a", "--input", "x.npy", "--iterations", "1"}, "--iterations");
  expect_usage({"a", "--input", "x.npy", "--output", "y.safetensors", "--json", "y.safetensors"},
               "same file");
}

TEST(Options, Scenarios) {
  EXPECT_EQ(parse({"a"}).scenario, Scenario::kSingleStream);
  EXPECT_EQ(parse({"a", "--scenario", "single-stream"}).scenario, Scenario::kSingleStream);
  const Options server = parse({"a", "--scenario", "server", "--streams", "2", "--rate", "12.5",
                                "--p99-ms", "40", "--seed", "7"});
  EXPECT_EQ(server.scenario, Scenario::kServer);
  EXPECT_EQ(server.streams, 2);
  EXPECT_EQ(server.rate, 12.5);
  EXPECT_EQ(server.p99_ms, 40);
  EXPECT_EQ(parse({"a", "--scenario", "offline"}).scenario, Scenario::kOffline);
  const std::string names = "must be single-stream, multi-stream, offline or server";
  expect_usage({"a", "--scenario", "Server"}, names);
  expect_usage({"a", "--scenario", ""}, names);
  expect_usage({"a", "--scenario", "multi-stream"}, "needs --streams");
  expect_usage({"a", "--scenario", "server"}, "needs --p99-ms");
  expect_usage({"a", "--scenario", "server", "--p99-ms", "0"}, "from 0.001 to 1000000");
  expect_usage({"a", "--scenario", "offline", "--rate", "5"}, "--rate: needs");
  expect_usage({"a", "--p99-ms", "5"}, "--p99-ms: needs");
  expect_usage({"a", "--streams", "2"}, "--streams: needs --scenario");
  expect_usage({"a", "--scenario", "offline", "--streams", "257"}, "from 1 to 256");
  expect_usage({"a", "--scenario", "offline", "--streams", "3", "--threads", "2"},
               "divided among 3 streams");
  expect_usage({"a", "b", "--scenario", "offline"}, "takes one ARTIFACT");
  expect_usage({"a", "--scenario", "offline", "--check"}, "is for measuring");
}

TEST(Options, CapabilitiesStandAlone) {
  EXPECT_TRUE(parse({"--capabilities"}).capabilities);
  EXPECT_FALSE(parse({"folder"}).capabilities);
  expect_usage({"folder", "--capabilities"}, "--capabilities");
  expect_usage({"--capabilities", "--quiet"}, "--capabilities");
}

TEST(Options, DataFilesHaveOneOfTwoSuffixes) {
  EXPECT_EQ(parse({"a", "--input", "x.safetensors"}).input, "x.safetensors");
  for (const char* path : {"x.pt", "x", "x.npz", "npy", "x.npy.gz", "x.NPY"}) {
    expect_usage({"a", "--input", path}, "must end in .npy or .safetensors; numpy.save");
    expect_usage({"a", "--input", "x.npy", "--output", path}, "must end in .npy or .safetensors");
  }
}

TEST(Options, UnprovedIsForTheBuilderAndNotInTheHelp) {
  EXPECT_TRUE(parse({"a", "--unproved", "--accept-error"}).unproved);
  EXPECT_TRUE(parse({"a", "--unproved", "--accept-error"}).accept_error);
  EXPECT_EQ(parse({"--help"}).print.find("--unproved"), std::string::npos);
}

TEST(Options, TakePictures) {
  const Options options = parse({"a", "--image", "x.jpg", "y.png", "--quiet", "--image", "z"});
  EXPECT_EQ(options.images, (std::vector<std::string>{"x.jpg", "y.png", "z"}));
  EXPECT_EQ(options.artifacts, std::vector<std::string>{"a"});
  EXPECT_TRUE(options.infers());
  EXPECT_EQ(parse({"a", "--image", "x", "--save-input", "x.npy", "--output", "y.npy"}).save_input,
            "x.npy");
  expect_usage({"--image", "x", "a"}, "ARTIFACT is missing: the folder of an artifact, before --i");
  expect_usage({"a", "--image"}, "--image");
  expect_usage({"a", "--image", ""}, "--image");
  expect_usage({"a", "--image", "x", "-"}, "--image -: is not read from stdin");
  expect_usage({"a", "--image", "x", "--check"}, "--image and --check: give one of them");
  expect_usage({"a", "--image", "x", "--input", "x.npy"}, "--image and --input: give one of them");
  expect_usage({"a", "b", "--image", "x"}, "--image: is not for a comparison");
  expect_usage({"a", "--rounds", "6", "--image", "x"}, "--image: is not for a comparison");
  expect_usage({"a", "--image", "x", "--scenario", "offline"}, "is for measuring, not for --input");
  expect_usage({"a", "--image", "x", "--strict"}, "--strict: is for measuring");
  expect_usage({"a", "--image", "x", "--allow-nonfinite"}, "needs --input");
  expect_usage({"a", "--save-input", "x.npy"}, "--save-input: needs --image");
  expect_usage({"a", "--image", "x", "--save-input", "x.raw"}, "must end in .npy");
}

TEST(Options, HelpNamesTheDefaultsOfMeasuring) {
  const std::string help = parse({"--help"}).print;
  EXPECT_NE(help.find("(10 and 1 s)"), std::string::npos) << help;
  EXPECT_NE(help.find("at least (3; of a comparison 6)"), std::string::npos) << help;
}

TEST(Options, HelpFitsATerminalAndNamesEveryFlag) {
  const std::string help = parse({"--help"}).print;
  for (const char* flag :
       {"--input",      "--output",       "--check",        "--batch",           "--threads",
        "--warmup",     "--iterations",   "--duration",     "--percentiles",     "--device",
        "--cuda-graph", "--strict",       "--json",         "--allow-nonfinite", "--library-path",
        "--quiet",      "--capabilities", "--accept-error", "--scenario",        "--streams",
        "--rate",       "--p99-ms",       "--image",        "--save-input"}) {
    EXPECT_NE(help.find(flag), std::string::npos) << flag;
  }
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_EQ(parse({"--version"}).print, "zoo-run 1.2.3\n");
}

}  // namespace
}  // namespace zoo
