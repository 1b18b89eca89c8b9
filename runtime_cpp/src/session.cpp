#include "session.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <future>
#include <istream>

#include "artifact/programs.h"
#include "artifact/proof.h"
#include "artifact/tensor_view.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "machine/pinning.h"
#include "measure/comparison.h"
#include "pictures.h"
#include "report/report_scenario.h"
#include "streams.h"
#include "torch/tensors.h"
#include "torch/torch_errors.h"
#include "torch/torch_machine.h"

namespace zoo {

namespace {

at::Tensor rows_of(const at::Tensor& input, const std::vector<int64_t>& rows) {
  return input.index_select(0, at::tensor(rows, at::kLong));
}

template <typename T>
std::span<const T> values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<T>(), static_cast<size_t>(tensor.numel())};
}

// The first output that is of classes.
std::optional<size_t> find_classes(const Manifest& manifest) {
  const auto& proofs = manifest.parity.outputs;
  const auto proof = std::ranges::find_if(proofs, &OutputProof::has_classes);
  if (proof == proofs.end()) return std::nullopt;
  return static_cast<size_t>(proof - proofs.begin());
}

void require_classes(const Manifest& manifest) {
  if (find_classes(manifest)) return;
  std::string shapes;
  for (const auto& [name, shape, classes] : manifest.outputs) {
    shapes += (shapes.empty() ? "" : ", ") + name + " " + describe("float32", shape);
  }
  throw RunnerError(ExitCode::kUsage, "--image: this artifact scores no classes, it gives " +
                                          shapes + "; add --output FILE, which gets the values");
}

// The most likely class of each row of (rows, classes).
std::vector<InferredRow> most_likely(const at::Tensor& output) {
  const auto [largest, classes] = output.max(1);
  std::vector<InferredRow> top;
  for (size_t i = 0; i < static_cast<size_t>(output.size(0)); ++i) {
    top.push_back({values<int64_t>(classes)[i], values<float>(largest)[i]});
  }
  return top;
}

}  // namespace

Session::Session(const VerifiedArtifact& artifact, const Options& options)
    : artifact_(artifact),
      options_(options),
      manifest_(artifact.manifest),
      streams_(static_cast<int>(options.streams.value_or(1))),
      threads_(std::max(1, static_cast<int>(options.threads.value_or(usable_cores())) / streams_)) {
  prepare(artifact, options, threads_);
}

Report Session::run() {
  const c10::InferenceMode no_gradients;
  throw_if_interrupted();
  if (options_.infers()) return infer();
  if (options_.check) return check();
  return options_.scenario == Scenario::kSingleStream ? measure() : measure_scenario();
}

LoadedProgram& Session::load(size_t index) {
  const Program& program = manifest_.programs[index];
  if (loaded_ && &loaded_->program() == &program) return *loaded_;
  loaded_.reset();  // the memory of one program at a time
  loaded_.emplace(artifact_, program, threads_, options_.cuda_graph, streams_);
  load_ms_ += loaded_->load_ms();
  throw_if_interrupted();
  return *loaded_;
}

Subject Session::subject(int64_t batch) {
  Conditions conditions = observe_torch_conditions(manifest_, streams_ * threads_);
  conditions.runtime = loaded_->engine().runtime();
  return {.artifact = artifact_.folder,
          .status = manifest_.status,
          .model = manifest_.model,
          .backend = manifest_.backend,
          .precision = manifest_.precision,
          .device = manifest_.device,
          .cuda_graph = options_.cuda_graph,
          .batch = batch,
          .open_ms = artifact_.open_ms,
          .load_ms = load_ms_,
          .file_bytes = artifact_.file(loaded_->program().file).size(),
          .conditions = std::move(conditions)};
}

at::Tensor Session::given_input() const {
  if (options_.images.empty()) {
    at::Tensor input = read_tensor_file(options_.input);
    validate_input(input, manifest_, options_.input, options_.allow_nonfinite);
    return input;
  }
  if (options_.output.empty()) require_classes(manifest_);
  at::Tensor input = read_pictures(options_.images, manifest_);
  validate_input(input, manifest_, "--image", false);
  if (!options_.save_input.empty()) write_input_file(options_.save_input, input, manifest_);
  return input;
}

Report Session::infer() {
  check_output_kind(options_.output, manifest_);
  at::Tensor input = given_input();
  const int64_t rows = input.size(0);
  const bool images = !options_.images.empty();
  if (images) {
    input = filled_up(input, plannable_rows(manifest_.programs, rows, options_.batch));
  }
  const std::vector<Chunk> chunks = plan_chunks(manifest_.programs, input.size(0), options_.batch);
  std::vector<at::Tensor> outputs = answer(
      manifest_, chunks, input, [&](size_t program) -> LoadedProgram& { return load(program); });
  for (at::Tensor& output : outputs) output = output.narrow(0, 0, rows);
  if (!options_.output.empty()) write_tensor_file(options_.output, outputs, manifest_);
  Inference inference{.rows = rows, .outputs = manifest_.outputs, .output = options_.output};
  for (const std::string& image : options_.images) inference.images.push_back({image});
  if (const auto index = find_classes(manifest_)) {
    inference.top1 = most_likely(outputs[*index]);
    inference.classes = manifest_.outputs[*index].classes;
    if (images) inference.images = rank_classes(options_.images, outputs[*index]);
  }
  inference.saved_input = options_.save_input;
  return report_inference(subject(chunks.front().rows), inference);
}

ProgramCheck Session::check_program(size_t program, const Golden& golden,
                                    std::optional<int64_t> batch, const SeeCall& seen) {
  LoadedProgram& loaded = load(program);
  std::vector<OutputCheck> checks;
  for (size_t i = 0; i < manifest_.outputs.size(); ++i) {
    checks.emplace_back(manifest_, i, golden.outputs()[i]);
  }
  const int64_t num_rows = golden.input.size(0);
  const auto calls = plan_golden(loaded.program(), batch, num_rows);
  int64_t done = 0;
  for (const std::vector<int64_t>& rows : calls) {
    const at::Tensor input = rows_of(golden.input, rows);
    const std::vector<at::Tensor> outputs = loaded.call(input);
    if (seen) seen(input, outputs);
    // What the last call has more than that are rows that have been run: they only fill it up.
    const auto count = std::min(static_cast<int64_t>(rows.size()), num_rows - done);
    for (size_t i = 0; i < outputs.size(); ++i) {
      for (int64_t row = 0; row < count; ++row) {
        checks[i].add_row(values<float>(outputs[i].select(0, row)));
      }
    }
    done += count;
  }
  ProgramCheck result{
      describe_program(loaded.program()), static_cast<int64_t>(calls.front().size()), {}};
  for (const OutputCheck& check : checks) result.outputs.push_back(check.result());
  return result;
}

Report Session::check() {
  const Golden golden(artifact_.file(kGoldenFile), manifest_);
  std::vector<size_t> programs;
  for (size_t i = 0; i < manifest_.programs.size(); ++i) programs.push_back(i);
  if (options_.batch) programs = {select_program(manifest_.programs, options_.batch)};

  std::vector<ProgramCheck> checks;
  for (const size_t program : programs)
    checks.push_back(check_program(program, golden, options_.batch));
  Report report = report_check(subject(checks.front().batch), manifest_.parity, checks);
  const bool proves_all = !options_.batch && report.exit_code == ExitCode::kDone;
  if (manifest_.status == Status::kPending && proves_all) remember_proof(report);
  return report;
}

void Session::remember_proof(Report& report) const {
  try {
    record_proof(artifact_);
    report.text += "remembered in " + printable(proof_path(artifact_)) + "\n";
  } catch (const RunnerError& error) {
    report.warning = std::string("the proof passed and is not remembered: ") + error.what();
  }
}

Calls Session::calls() {
  const size_t program = select_program(manifest_.programs, options_.batch);
  const int64_t batch = options_.batch.value_or(manifest_.programs[program].min_batch);
  const Golden golden(artifact_.file(kGoldenFile), manifest_);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < batch; ++i) rows.push_back(i % kOrdinaryRows);
  const at::Tensor input = rows_of(golden.input, rows).to(c10::Device(manifest_.device));
  LoadedProgram& loaded = load(program);
  return {manifest_, loaded.program(), loaded.engine(), input};
}

Report Session::measure() {
  Calls calls = this->calls();
  const MeasurePlan plan = make_plan(options_.warmup, options_.iterations, options_.duration_s);
  Measurement measurement = calls.measure(plan);
  const Stability stability = calls.stability();
  measurement.flaw = calls.find_flaw();
  return report_measurement(subject(calls.batch()), measurement, stability, options_.percentiles,
                            options_.strict);
}

Report Session::measure_scenario() {
  if (manifest_.device != "cpu") {
    fail_machine("scenarios are measured on cpu, the artifact is for " + manifest_.device +
                 ": leave --scenario out");
  }
  const size_t program = select_program(manifest_.programs, options_.batch);
  const Golden golden(artifact_.file(kGoldenFile), manifest_);
  const int64_t batch = options_.batch.value_or(manifest_.programs[program].min_batch);
  std::vector<Sample> samples;
  // In a thread of its own: OpenMP's threads end with the one that started them. Else they would
  // stay beside those of the streams, and OpenMP lets none wait actively when there are too many.
  const ProgramCheck check =
      std::async(std::launch::async, [&] {
        const c10::InferenceMode no_gradients;
        at::set_num_threads(threads_);
        return check_program(program, golden, batch,
                             [&](const at::Tensor& rows, const auto& outputs) {
                               samples.push_back({rows, hash_outputs(outputs)});
                             });
      }).get();
  const auto count = static_cast<size_t>(streams_);
  const auto cores = divide_cores(core_numbers(), count, static_cast<size_t>(threads_));
  ScenarioReport scenario{.plan = plan_scenario(options_), .streams = count, .threads = threads_};
  LoadedProgram& loaded = load(program);
  with_torch_errors(loaded.program().file + ": cannot be run", [&] {
    Streams streams(manifest_, loaded.engine(), ordinary(std::move(samples), check.batch), count,
                    threads_, cores);
    Team team(count, [&](size_t stream) { streams.enter(stream); });
    scenario.result = conduct(team, streams, scenario.plan, real_clocks());
    if (streams.is_pinned()) scenario.cores = cores;
    const std::string flaw = loaded.engine().find_flaw(streams.sample_input());
    if (!flaw.empty()) scenario.flaws.push_back(flaw);
  });
  if (!check.passed()) scenario.flaws.emplace_back("the outputs fail the proof: see --check");
  return report_scenario(subject(check.batch), scenario, options_.percentiles, options_.strict);
}

void Session::answer_turns(std::istream& in, std::ostream& out) {
  const c10::InferenceMode no_gradients;
  Calls calls = this->calls();
  const Measurement warm = calls.measure(
      {.warmup_calls = kDefaultWarmupCalls, .min_iterations = 1, .min_duration_ns = 0});
  write_text(dump_json_line({{"batch", calls.batch()}, {"call_ns", warm.samples_ns.front()}}), out);
  for (std::string line; std::getline(in, line) && line != kLastTurn;) {
    const Measurement turn = calls.measure(parse_turn(line));
    write_text(dump_json_line({{"samples_ns", turn.samples_ns}}), out);
  }
  OrderedJson end = describe(subject(calls.batch()));
  end["first_call_ms"] = to_ms(warm.first_call_ns);
  end["output_stable"] = calls.stability().identical;
  end["flaw"] = calls.find_flaw();
  write_text(dump_json_line(end), out);
}

}  // namespace zoo
