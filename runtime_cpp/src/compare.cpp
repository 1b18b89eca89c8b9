#include "compare.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/child.h"
#include "base/error.h"
#include "base/json.h"
#include "measure/comparison.h"
#include "measure/stats.h"

namespace zoo {

namespace {

// A program in its process, for one round.
struct Runner {
  const std::string& artifact;
  Child child;
  int64_t batch = 0;
  int64_t call_ns = 0;
  std::vector<int64_t> samples_ns = {};
};

std::vector<std::string> arguments(const std::string& artifact, const Options& options) {
  std::vector<std::string> list = {artifact, "--turns"};
  const auto add = [&](const std::string& flag, const std::string& value) {
    list.push_back(flag);
    list.push_back(value);
  };
  if (options.batch) add("--batch", std::to_string(*options.batch));
  if (options.threads) add("--threads", std::to_string(*options.threads));
  if (!options.device.empty()) add("--device", options.device);
  for (const std::string& folder : options.library_path) add("--library-path", folder);
  if (options.cuda_graph) list.emplace_back("--cuda-graph");
  if (options.accept_error) list.emplace_back("--accept-error");
  return list;
}

// The next line of its process; a failure names the artifact.
Json receive(Runner& runner) {
  try {
    return parse_json(runner.child.receive(), runner.artifact);
  } catch (const RunnerError& error) {
    const std::string text = error.what();
    const bool named = text.find(runner.artifact) != std::string::npos;
    const bool asked =
        error.code() == ExitCode::kInterrupted || error.code() == ExitCode::kTerminated;
    throw RunnerError(error.code(), named || asked ? text : runner.artifact + ": " + text);
  }
}

Runner start(const std::string& artifact, const Options& options) {
  Runner runner{.artifact = artifact, .child = Child(arguments(artifact, options))};
  const Json ready = receive(runner);
  runner.batch = ready["batch"].get<int64_t>();
  runner.call_ns = ready["call_ns"].get<int64_t>();
  return runner;
}

void check_batches(const std::vector<Runner>& runners) {
  const Runner& first = runners.front();
  for (const Runner& runner : runners) {
    if (runner.batch != first.batch) {
      throw RunnerError(ExitCode::kUsage, first.artifact + " takes batch " +
                                              std::to_string(first.batch) + ", " + runner.artifact +
                                              " batch " + std::to_string(runner.batch) +
                                              ": give --batch, or compare programs of one batch");
    }
  }
}

void take_turn(Runner& runner, double seconds) {
  runner.child.send(turn_line(plan_turn(seconds, runner.call_ns)));
  const auto samples = receive(runner)["samples_ns"].get<std::vector<int64_t>>();
  runner.samples_ns.insert(runner.samples_ns.end(), samples.begin(), samples.end());
}

void end(Runner& runner, Compared& compared) {
  runner.child.send(std::string(kLastTurn));
  OrderedJson subject = receive(runner);
  compared.stable = compared.stable && subject["output_stable"].get<bool>();
  compared.flaw = subject["flaw"].get<std::string>();
  subject.erase("output_stable");
  subject.erase("flaw");
  compared.subject = subject;
  std::ranges::sort(runner.samples_ns);
  compared.rounds_ns.push_back(median(runner.samples_ns));
  compared.calls += static_cast<int64_t>(runner.samples_ns.size());
}

void run_round(const Options& options, double turn_s, Shuffle& shuffle, Comparison& comparison) {
  const size_t count = options.artifacts.size();
  std::vector<std::optional<Runner>> started(count);
  for (const size_t i : shuffle.order(count))
    started[i].emplace(start(options.artifacts[i], options));
  std::vector<Runner> runners;
  for (std::optional<Runner>& runner : started) runners.push_back(std::move(*runner));
  check_batches(runners);
  for (int64_t block = 0; block < kBlocks; ++block) {
    for (const size_t i : shuffle.order(count)) take_turn(runners[i], turn_s);
  }
  for (size_t i = 0; i < count; ++i) end(runners[i], comparison.programs[i]);
}

}  // namespace

Report compare(const Options& options) {
  const int64_t rounds = options.rounds.value_or(kDefaultRounds);
  Comparison comparison{.seed = static_cast<uint64_t>(options.seed.value_or(0)),
                        .seconds = options.duration_s.value_or(kDefaultComparedS),
                        .programs = std::vector<Compared>(options.artifacts.size())};
  const double turn_s = comparison.seconds / static_cast<double>(rounds * kBlocks);
  Shuffle shuffle(comparison.seed);
  for (int64_t round = 0; round < rounds; ++round) {
    run_round(options, turn_s, shuffle, comparison);
  }
  return report_comparison(comparison);
}

}  // namespace zoo
