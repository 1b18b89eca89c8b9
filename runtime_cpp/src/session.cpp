#include "session.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "artifact/programs.h"
#include "artifact/proof.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "engines/cuda_graph.h"
#include "engines/offer.h"
#include "machine/libraries.h"
#include "torch/gpu_timer.h"
#include "torch/tensors.h"
#include "torch/torch_errors.h"
#include "torch/torch_machine.h"

namespace zoo {

namespace {

// Float32 on cpu, whatever the device and layout it came in.
at::Tensor to_host(const at::Tensor& output) { return output.to(at::kCPU).contiguous(); }

at::Tensor rows_of(const at::Tensor& input, const std::vector<int64_t>& rows) {
  return input.index_select(0, at::tensor(rows, at::kLong));
}

Stability compare_outputs(const at::Tensor& first, const at::Tensor& last) {
  // Bytes, not values: equal NaNs are the same output.
  if (std::memcmp(first.const_data_ptr(), last.const_data_ptr(), first.nbytes()) == 0) {
    return {true, 0.0};
  }
  const auto largest = at::sub(first, last).abs().max().item<double>();
  return {false, std::isfinite(largest) ? std::optional(largest) : std::nullopt};
}

// The last `count`; all where there are fewer.
std::vector<int64_t> last(const std::vector<int64_t>& samples, size_t count) {
  return {samples.end() - static_cast<std::ptrdiff_t>(std::min(count, samples.size())),
          samples.end()};
}

template <typename T>
std::span<const T> values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<T>(), static_cast<size_t>(tensor.numel())};
}

// The most likely class of each row; nothing where the output is not (rows, classes).
std::vector<InferredRow> most_likely(const at::Tensor& output) {
  if (output.dim() != 2) return {};
  const auto [largest, classes] = output.max(1);
  std::vector<InferredRow> top;
  for (size_t i = 0; i < static_cast<size_t>(output.size(0)); ++i) {
    top.push_back({values<int64_t>(classes)[i], values<float>(largest)[i]});
  }
  return top;
}

}  // namespace

Session::Session(const Artifact& artifact, const Options& options)
    : artifact_(artifact),
      options_(options),
      manifest_(artifact.manifest),
      threads_(static_cast<int>(options.threads.value_or(usable_cores()))) {
  check_requirements(manifest_, observe_host(manifest_, options));
  if (!options.check) require_proved(artifact, options.accept_error, options.unproved);
  load_libraries(manifest_.requirements.load_first, options.library_path);
  configure_torch(manifest_, threads_);
}

Report Session::run() {
  const c10::InferenceMode no_gradients;
  throw_if_interrupted();
  if (!options_.input.empty()) return infer();
  return options_.check ? check() : measure();
}

void Session::load(size_t program) {
  if (program_ == &manifest_.programs[program]) return;
  program_ = &manifest_.programs[program];
  engine_.reset();
  const int64_t start = real_clocks().steady_ns();
  engine_ = with_torch_errors(program_->file + ": cannot be loaded", [&] {
    const LoadEngine load_engine = find_engine(manifest_.backend, program_->file);
    return load_engine({.file = artifact_.file(program_->file),
                        .program = *program_,
                        .manifest = manifest_,
                        .threads = threads_,
                        .cuda_graph = options_.cuda_graph});
  });
  if (options_.cuda_graph) engine_ = capture_calls(std::move(engine_));
  load_ms_ += to_ms(real_clocks().steady_ns() - start);
  throw_if_interrupted();
}

at::Tensor Session::call_checked(const at::Tensor& rows) {
  throw_if_interrupted();
  return with_torch_errors(program_->file + ": cannot be run", [&] {
    const at::Tensor output = engine_->run(rows.to(c10::Device(manifest_.device)));
    synchronize(manifest_.device);
    validate_output(output, rows.size(0), manifest_, program_->file);
    return to_host(output);
  });
}

Subject Session::subject(int64_t batch) {
  Conditions conditions = observe_torch_conditions(manifest_, threads_);
  conditions.runtime = engine_->runtime();
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
          .file_bytes = artifact_.file(program_->file).size(),
          .conditions = std::move(conditions)};
}

Report Session::infer() {
  const at::Tensor input = read_tensor_file(options_.input);
  validate_input(input, manifest_, options_.input, options_.allow_nonfinite);
  const int64_t rows = input.size(0);
  const std::vector<Chunk> chunks = plan_chunks(manifest_.programs, rows, options_.batch);
  std::vector<at::Tensor> outputs;
  for (const Chunk& chunk : chunks) {
    load(chunk.program);
    outputs.push_back(call_checked(input.narrow(0, chunk.first_row, chunk.rows).clone()));
  }
  const at::Tensor output = at::cat(outputs);
  if (!options_.output.empty()) {
    write_atomically(options_.output,
                     tensor_file_bytes(output, manifest_.output.name, options_.output));
  }
  return report_inference(subject(chunks.front().rows), {.rows = rows,
                                                         .top1 = most_likely(output),
                                                         .classes = manifest_.output.classes,
                                                         .output = options_.output});
}

Report Session::check() {
  const Golden golden = read_golden(artifact_.file(kGoldenFile), manifest_);
  std::vector<size_t> programs;
  for (size_t i = 0; i < manifest_.programs.size(); ++i) programs.push_back(i);
  if (options_.batch) programs = {select_program(manifest_.programs, options_.batch)};

  std::vector<ProgramCheck> checks;
  for (const size_t program : programs) {
    load(program);
    at::Tensor outputs = at::empty(golden.oracle.sizes(), at::kFloat);
    const auto calls = plan_golden(*program_, options_.batch, golden.input.size(0));
    int64_t done = 0;
    for (const std::vector<int64_t>& rows : calls) {
      const at::Tensor output = call_checked(rows_of(golden.input, rows));
      // What the last call has more than that are rows that have been run: they only fill it up.
      const int64_t count = std::min(output.size(0), outputs.size(0) - done);
      outputs.narrow(0, done, count).copy_(output.narrow(0, 0, count));
      done += count;
    }
    checks.push_back(
        {describe_program(*program_), static_cast<int64_t>(calls.front().size()),
         check_parity(manifest_.parity, values<float>(outputs), values<double>(golden.oracle))});
  }
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

Report Session::measure() {
  const size_t program = select_program(manifest_.programs, options_.batch);
  const int64_t batch = options_.batch.value_or(manifest_.programs[program].min_batch);
  const Golden golden = read_golden(artifact_.file(kGoldenFile), manifest_);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < batch; ++i) rows.push_back(i % kOrdinaryRows);
  const at::Tensor input = rows_of(golden.input, rows).to(c10::Device(manifest_.device));
  load(program);

  at::Tensor output;
  at::Tensor first;
  GpuTimer timer(input.device().type());
  std::vector<int64_t> gpu_ns;  // of every call so far
  const auto take_gpu_time = [&] {
    if (const auto ns = timer.take_ns()) gpu_ns.push_back(*ns);
  };
  // The program, and on a GPU the wait for it. The input is there already.
  const auto timed_call = [&] {
    timer.start();
    output = engine_->run(input);
    timer.stop();
    synchronize(manifest_.device);
  };
  const auto between = [&] {
    take_gpu_time();
    if (!first.defined() && output.defined()) {
      validate_output(output, batch, manifest_, program_->file);
      first = to_host(output).clone();
    }
    throw_if_interrupted();
  };
  const MeasurePlan plan = make_plan(options_.warmup, options_.iterations, options_.duration_s);
  Measurement measurement = with_torch_errors(program_->file + ": cannot be run", [&] {
    Measurement measured = zoo::measure(plan, real_clocks(), timed_call, between);
    take_gpu_time();
    measured.flaw = engine_->find_flaw(input);
    return measured;
  });
  measurement.gpu_samples_ns = last(gpu_ns, measurement.samples_ns.size());
  validate_output(output, batch, manifest_, program_->file);
  return report_measurement(subject(batch), measurement, compare_outputs(first, to_host(output)),
                            options_.percentiles, options_.strict);
}

}  // namespace zoo
