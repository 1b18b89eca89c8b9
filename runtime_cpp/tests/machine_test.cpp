#include "machine/machine.h"

#include <gtest/gtest.h>

#include "base/paths.h"
#include "fixtures.h"
#include "machine/conditions.h"
#include "machine/cpu_flags.h"
#include "machine/libraries.h"

namespace zoo {
namespace {

constexpr const char* kCpuInfo =
    "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f\n"
    "vmx flags\t: vnmi\n\nprocessor\t: 1\nflags\t\t: fpu other\n";

TEST(Machine, ReadsTheFlagsOfTheFirstProcessor) {
  EXPECT_EQ(parse_cpu_flags(kCpuInfo), (std::set<std::string>{"fpu", "avx2", "avx512f"}));
  EXPECT_EQ(parse_cpu_model(kCpuInfo), "Some CPU @ 2 GHz");
}

TEST(Machine, NamesTheProcessorThatAProofWasMadeOn) {
  EXPECT_TRUE(describe_processor("cpu").starts_with("cpu: "));
  EXPECT_EQ(parse_driver_version("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu\n"
                                 "GCC version:  gcc version 12.3.0\n"),
            "570.86.15");
  EXPECT_EQ(parse_driver_version("NVRM version 5\nGCC 12.3.0\n"), "unknown");
  EXPECT_EQ(parse_driver_version(""), "unknown");
}

TEST(Machine, WhatCannotBeReadIsEmpty) {
  EXPECT_TRUE(parse_cpu_flags("").empty());
  EXPECT_TRUE(parse_cpu_flags("flags").empty());
  EXPECT_TRUE(parse_cpu_flags("flags\t:").empty());
  EXPECT_TRUE(parse_cpu_flags("flagship : avx2\n").empty());
  EXPECT_EQ(read_text_file("/no/such/file"), "");
}

TEST(Machine, KnowsThisMachine) {
  EXPECT_FALSE(parse_cpu_flags(read_text_file("/proc/cpuinfo")).empty());
  EXPECT_GE(usable_cores(), 1);
  EXPECT_GT(available_memory_bytes(), 0u);
  EXPECT_GT(peak_rss_bytes(), 0u);
  EXPECT_FALSE(allocator().library.empty());
  EXPECT_EQ(utc_now().size(), 20u);
}

// Here the processor is a real one, so both sources must say the same.
TEST(Machine, TheProcessorAndTheSystemNameTheSameFlags) {
  const ProcessorFlags asked = ask_processor();
  const std::set<std::string> listed = parse_cpu_flags(read_text_file("/proc/cpuinfo"));
  for (const std::string& flag : asked.known) {
    EXPECT_EQ(asked.present.contains(flag), listed.contains(flag)) << flag;
  }
  EXPECT_EQ(cpu_flags(), listed);
}

TEST(Machine, AGpuIsThereOrThereIsAReason) {
  const Gpu gpu = probe_gpu();
  EXPECT_NE(gpu.arch.has_value(), !gpu.why_not.empty());
}

TEST(Conditions, WarnOfTooManyThreads) {
  const auto count = [](int threads) { return observe_conditions(threads).warnings.size(); };
  EXPECT_EQ(count(usable_cores() + 1), count(1) + 1);
}

TEST(Conditions, RecordTheEnvironmentThatMatters) {
  ::setenv("OMP_TEST_ONLY", "3", 1);
  ::setenv("UNRELATED_TEST_ONLY", "3", 1);
  const auto environment = observe_conditions(1).environment;
  EXPECT_EQ(environment.at("OMP_TEST_ONLY"), "3");
  EXPECT_FALSE(environment.contains("UNRELATED_TEST_ONLY"));
}

TEST(Libraries, NameWhatIsMissing) {
  load_libraries({}, {});
  load_libraries({"libm.so.6"}, {"/no/such/folder"});
  EXPECT_REFUSED(ExitCode::kMachineLacks, "libzoo_none.so",
                 load_libraries({"libm.so.6", "libzoo_none.so"}, {}));
}

TEST(Libraries, LookInTheGivenFoldersFirst) {
  const testing::TempFolder folder;
  testing::write_file(folder / "libm.so.6", "not a library");
  EXPECT_REFUSED(ExitCode::kMachineLacks, folder.path(),
                 load_libraries({"libm.so.6"}, {folder.path()}));
}

TEST(Paths, Names) {
  for (const char* name : {"a", "a/b.c", "..a", "a/..b", "a b", "\xc3\xa9"}) {
    EXPECT_EQ(unsafe_name(name), std::nullopt) << name;
  }
  for (const char* name :
       {"", "/", "/a", "..", "../a", "a/..", "a/../b", "a//b", "a/", "a\\b", "a\tb"}) {
    EXPECT_NE(unsafe_name(name), std::nullopt) << name;
  }
  EXPECT_EQ(printable("a\x1b[2Jb\nc\x7f"), "a?[2Jb?c?");
  EXPECT_EQ(printable("\xc2\x9b|\xe2\x80\xae|\xe2\x81\xa6|\x9b|\xc1\x9b|\xed\xa0\x80"),
            "?|?|?|?|??|???");
  EXPECT_EQ(printable("\xe6\xa8\xa1 \xc3\xa9 \xf0\x9f\x98\x80 \xf0\x9f"),
            "\xe6\xa8\xa1 \xc3\xa9 \xf0\x9f\x98\x80 ??");
}

}  // namespace
}  // namespace zoo
