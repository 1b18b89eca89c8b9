#include "options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>

#include "base/flags.h"
#include "base/text.h"
#include "measure/comparison.h"
#include "measure/measure.h"

namespace zoo {

namespace {

constexpr int64_t kMaxBatch = int64_t{1} << 20;
constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxCalls = 10'000'000;
constexpr int64_t kMaxRounds = 1000;
constexpr int64_t kMaxStreams = 256;
constexpr int64_t kMaxSeed = std::numeric_limits<int64_t>::max();
constexpr size_t kMaxArtifacts = 16;
constexpr double kMinDurationS = 0.001;
constexpr double kMaxDurationS = 86'400;
constexpr size_t kMaxPercentiles = 16;
constexpr int kMaxImages = 1024;

Percentile parse_percentile(const std::string& text) {
  const std::string allowed = "percentages above 0 and below 100, such as 50,90,99.9";
  const size_t point = text.find('.');
  const std::string whole = text.substr(0, point);
  std::string fraction = point == std::string::npos ? "000" : text.substr(point + 1);
  if (fraction.empty() || fraction.size() > 3 || whole.empty() || whole.size() > 2 ||
      !std::ranges::all_of(whole + fraction, [](char c) { return c >= '0' && c <= '9'; })) {
    fail_usage("--percentiles " + shown(text) + ": must be " + allowed);
  }
  fraction.resize(3, '0');
  const Percentile p{std::stoll(whole + fraction)};
  if (p.thousandths == 0) fail_usage("--percentiles " + shown(text) + ": must be " + allowed);
  return p;
}

std::vector<Percentile> parse_percentiles(const std::string& text) {
  std::vector<Percentile> list;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    list.push_back(parse_percentile(text.substr(start, end - start)));
    start = end + 1;
    if (list.size() > kMaxPercentiles) fail_usage("--percentiles: at most 16 can be asked for");
  }
  return list;
}

std::string not_empty(const std::string& value) { return value.empty() ? "it is empty" : ""; }

// One call here is one option: its flag, where it goes, what it takes, its line of help.
class Rows {
 public:
  explicit Rows(CLI::App& app) : app_(app) {}

  CLI::Option* text(const std::string& flag, std::string& target, const std::string& value,
                    const std::string& help) {
    return app_.add_option(flag, target, help)->type_name(value)->check(not_empty);
  }
  void texts(const std::string& flag, std::vector<std::string>& target, const std::string& value,
             const std::string& help) {
    app_.add_option(flag, target, help)->type_name(value)->allow_extra_args(false);
  }
  // One or more, up to the next option.
  void files(const std::string& flag, std::vector<std::string>& target, const std::string& help) {
    app_.add_option(flag, target, help)
        ->type_name("FILE...")
        ->expected(1, kMaxImages)
        ->check(not_empty);
  }
  CLI::Option* toggle(const std::string& flag, bool& target, const std::string& help) {
    return app_.add_flag(flag, target, help)
        ->multi_option_policy(CLI::MultiOptionPolicy::Throw)
        ->disable_flag_override();
  }
  void count(const std::string& flag, std::optional<int64_t>& target, int64_t min, int64_t max,
             const std::string& help) {
    const std::string allowed =
        "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
    parsed(flag, "N", help, [&target, flag, min, max, allowed](const std::string& value) {
      target = parse_number<int64_t>(flag, value, min, max, allowed);
    });
  }
  void parsed(const std::string& flag, const std::string& value, const std::string& help,
              const std::function<void(const std::string&)>& set) {
    app_.add_option_function<std::string>(flag, set, help)->type_name(value);
  }

 private:
  CLI::App& app_;
};

// How long is measured, and what is said of it.
void add_measuring_rows(Rows& rows, Options& options) {
  rows.count("--warmup", options.warmup, 0, kMaxCalls,
             format("untimed calls (%lld and %g s)", static_cast<long long>(kDefaultWarmupCalls),
                    kDefaultWarmupS));
  rows.count("--iterations", options.iterations, 1, kMaxCalls,
             format("timed calls, at least (%lld)", static_cast<long long>(kDefaultIterations)));
  rows.parsed("--duration", "S",
              format("seconds of timed calls, at least (%g; of a comparison %g)", kDefaultDurationS,
                     kDefaultComparedS),
              [&options](const std::string& value) {
                options.duration_s =
                    parse_number<double>("--duration", value, kMinDurationS, kMaxDurationS,
                                         "seconds from 0.001 to 86400");
              });
  rows.count("--rounds", options.rounds, kMinRounds, kMaxRounds,
             format("compare, or measure, in so many rounds (%lld)",
                    static_cast<long long>(kDefaultRounds)));
  rows.count("--seed", options.seed, 0, kMaxSeed, "of the order in a comparison (0)");
  rows.parsed(
      "--percentiles", "LIST", "of the latency (50,90,95,99)",
      [&options](const std::string& value) { options.percentiles = parse_percentiles(value); });
}

Scenario parse_scenario(const std::string& text) {
  for (const Scenario scenario :
       {Scenario::kSingleStream, Scenario::kMultiStream, Scenario::kOffline, Scenario::kServer}) {
    if (scenario_name(scenario) == text) return scenario;
  }
  fail_usage("--scenario " + shown(text) +
             ": must be single-stream, multi-stream, offline or server");
}

// How queries come.
void add_scenario_rows(Rows& rows, Options& options) {
  rows.parsed("--scenario", "NAME", "single-stream, multi-stream, offline, server",
              [&options](const std::string& value) { options.scenario = parse_scenario(value); });
  rows.count("--streams", options.streams, 1, kMaxStreams, "that share one loaded program (1)");
  const auto number = [&](const std::string& flag, const std::string& value, double most,
                          std::optional<double>& target, const std::string& help) {
    rows.parsed(flag, value, help, [&target, flag, most](const std::string& text) {
      target = parse_number<double>(flag, text, 0.001, most, format("from 0.001 to %.0f", most));
    });
  };
  number("--rate", "R", 1e6, options.rate, "server: queries per second (the highest that passes)");
  number("--p99-ms", "X", 1e6, options.p99_ms, "server: the 99th percentile must lie under this");
}

void add_rows(CLI::App& app, Options& options) {
  Rows rows(app);
  app.add_option("ARTIFACT", options.artifacts, "folder that holds manifest.json; several: compare")
      ->type_name(" ")
      ->check(not_empty);
  rows.text("--input", options.input, "FILE", "run this tensor (.npy, .safetensors)");
  rows.files("--image", options.images, "name the classes of pictures (JPEG, PNG)");
  rows.text("--output", options.output, "FILE", "write the outputs there (.npy, .safetensors)");
  rows.text("--save-input", options.save_input, "FILE", "write the input tensor made by --image");
  rows.toggle("--check", options.check, "prove the outputs again with golden.safetensors");
  rows.count("--batch", options.batch, 1, kMaxBatch, "rows for each call (the program's own)");
  rows.count("--threads", options.threads, 1, kMaxThreads, "threads of torch (usable cores)");
  add_measuring_rows(rows, options);
  add_scenario_rows(rows, options);
  rows.parsed("--device", "NAME", "cpu or cuda (what the artifact was built for)",
              [&options](const std::string& value) {
                if (value != "cpu" && value != "cuda") {
                  fail_usage("--device " + shown(value) + ": must be cpu or cuda");
                }
                options.device = value;
              });
  rows.toggle("--cuda-graph", options.cuda_graph, "capture the calls on a GPU and replay them");
  rows.toggle("--strict", options.strict, "exit 1 when the measurement is INVALID");
  rows.text("--json", options.json, "FILE", "write the report there too; - is stdout");
  rows.toggle("--accept-error", options.accept_error, "run an artifact that failed its proof");
  // For the builder alone, so --help says nothing of it.
  rows.toggle("--unproved", options.unproved, "run what has not been proved yet")->group("");
  // For a comparison's own processes.
  rows.toggle("--turns", options.turns, "answer turns from stdin")->group("");
  rows.toggle("--allow-nonfinite", options.allow_nonfinite, "take NaN and Inf in --input");
  rows.texts("--library-path", options.library_path, "DIR",
             "look here first for libraries; repeatable");
  rows.toggle("--quiet", options.quiet, "print no report, only errors");
  rows.toggle("--capabilities", options.capabilities, "print what this zoo-run can do, as JSON");
}

void refuse_if(bool wrong, const std::string& message) {
  if (wrong) fail_usage(message);
}

void check_data_file(const std::string& flag, const std::string& path) {
  if (path.empty()) return;
  const bool known = std::ranges::any_of(
      kDataSuffixes, [&](std::string_view suffix) { return path.ends_with(suffix); });
  refuse_if(!known, flag + " " + shown(path) + ": must end in .npy or .safetensors; numpy.save(" +
                        "'x.npy', x) and safetensors.torch.save_file({'x': x}, ...) write them");
}

void check_comparison(const Options& options) {
  refuse_if(options.artifacts.size() > kMaxArtifacts, "ARTIFACT: at most 16 can be compared");
  const std::string single = ": is not for a comparison: give one ARTIFACT, without --rounds";
  const bool compares = options.compares();
  refuse_if(compares && !options.input.empty(), "--input" + single);
  refuse_if(compares && !options.images.empty(), "--image" + single);
  refuse_if(compares && options.check, "--check" + single);
  refuse_if(compares && options.warmup.has_value(), "--warmup" + single);
  refuse_if(compares && options.iterations.has_value(), "--iterations" + single);
  refuse_if(compares && options.strict, "--strict" + single);
  refuse_if(!compares && options.scenario == Scenario::kSingleStream && options.seed.has_value(),
            "--seed: is for a comparison: give several artifacts, or --rounds");
}

void check_scenario(const Options& options, bool measures) {
  const bool single = options.scenario == Scenario::kSingleStream;
  const bool server = options.scenario == Scenario::kServer;
  const std::string name = "--scenario " + std::string(scenario_name(options.scenario));
  refuse_if(!single && options.compares(), name + ": takes one ARTIFACT, without --rounds");
  refuse_if(!single && !measures, name + ": is for measuring, not for --input, --image or --check");
  refuse_if(single && options.streams.has_value(),
            "--streams: needs --scenario multi-stream, offline or server");
  refuse_if(options.scenario == Scenario::kMultiStream && !options.streams,
            name + ": needs --streams, how many call at once");
  refuse_if(!server && options.rate.has_value(), "--rate: needs --scenario server");
  refuse_if(!server && options.p99_ms.has_value(), "--p99-ms: needs --scenario server");
  refuse_if(server && !options.p99_ms,
            name + ": needs --p99-ms, what the 99th percentile must lie under");
  refuse_if(options.streams && options.threads && *options.threads < *options.streams,
            "--threads " + std::to_string(options.threads.value_or(0)) + ": are divided among " +
                std::to_string(options.streams.value_or(0)) +
                " streams; give one at least to each");
}

// What is run instead of the measurement, and the files that belong to it.
void check_inputs(const Options& options) {
  const bool images = !options.images.empty();
  refuse_if(!options.input.empty() && options.check, "--input and --check: give one of them");
  refuse_if(images && options.check, "--image and --check: give one of them");
  refuse_if(images && !options.input.empty(), "--image and --input: give one of them");
  refuse_if(!options.infers() && !options.output.empty(), "--output: needs --input or --image");
  refuse_if(!images && !options.save_input.empty(), "--save-input: needs --image");
  refuse_if(options.input.empty() && options.allow_nonfinite, "--allow-nonfinite: needs --input");
  refuse_if(std::ranges::count(options.images, "-") > 0,
            "--image -: is not read from stdin; give a file");
  check_data_file("--input", options.input);
  check_data_file("--output", options.output);
  check_data_file("--save-input", options.save_input);
  refuse_if(!options.output.empty() && options.output == options.json,
            "--output and --json: name the same file");
}

void check_combinations(const Options& options) {
  const bool measures = !options.infers() && !options.check;
  check_inputs(options);
  const std::string only = ": is for measuring, not for --input, --image or --check";
  refuse_if(!measures && options.warmup.has_value(), "--warmup" + only);
  refuse_if(!measures && options.iterations.has_value(), "--iterations" + only);
  refuse_if(!measures && options.duration_s.has_value(), "--duration" + only);
  refuse_if(!measures && options.strict, "--strict" + only);
  check_comparison(options);
  check_scenario(options, measures);
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Options parse_options(int argc, const char* const* argv, const std::string& version) {
  Options options;
  CLI::App app("Loads a compiled network, proves or measures it, without Python.", "zoo-run");
  app.set_help_flag("-h,--help", "print this help and exit");
  app.set_version_flag("--version", version, "print the versions and exit");
  app.footer(
      "In brackets: the default. Exit codes: 0 done, 1 a check failed, 2 usage,\n"
      "3 bad artifact or input, 4 this machine lacks something, 130/143 interrupted,\n"
      "141 nobody reads stdout.");
  app.get_formatter()->column_width(24);
  add_rows(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    options.print = app.help();
    return options;
  } catch (const CLI::CallForVersion&) {
    options.print = version + "\n";
    return options;
  } catch (const CLI::ParseError& error) {
    fail_usage(printable(first_line(error.what()).substr(0, 200)));
  }
  if (options.capabilities) {
    refuse_if(argc > 2, "--capabilities: takes nothing beside it");
    return options;
  }
  // Said last, so that a wrong flag is named first.
  if (app.count("ARTIFACT") == 0) {
    fail_usage(std::string("ARTIFACT is missing: the folder of an artifact") +
               (options.images.empty() ? "" : ", before --image"));
  }
  check_combinations(options);
  return options;
}

}  // namespace zoo
