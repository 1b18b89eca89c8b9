#include "measure/scenario.h"

#include <algorithm>
#include <atomic>

#include "base/interrupt.h"

namespace zoo {

namespace {

// What one stream did. On a cache line of its own, as its thread alone writes it.
struct alignas(64) Record {
  int64_t calls = 0;
  int64_t wrong = 0;
  int64_t hashing_ns = 0;
  int64_t end_ns = 0;  // of its last call
};

// One call; its end. The answer is held to the checked one after that.
int64_t call_and_check(System& system, size_t stream, size_t sample, const Clocks& clocks,
                       Record& record) {
  system.call(stream, sample);
  record.end_ns = clocks.steady_ns();
  ++record.calls;
  if (!system.is_right(stream, sample)) ++record.wrong;
  record.hashing_ns += clocks.steady_ns() - record.end_ns;
  return record.end_ns;
}

// A run from its start, by both clocks, to its sums.
class Running {
 public:
  Running(size_t streams, const Clocks& clocks)
      : records(streams),
        start_ns(clocks.steady_ns()),
        clocks_(clocks),
        system_start_ns_(clocks.system_ns()) {}

  [[nodiscard]] ScenarioRun end(std::vector<int64_t> samples_ns) const {
    ScenarioRun run{.samples_ns = std::move(samples_ns)};
    run.system_ns = clocks_.system_ns() - system_start_ns_;
    const int64_t now = clocks_.steady_ns();
    for (const Record& record : records) {
      run.calls += record.calls;
      run.wrong += record.wrong;
      run.hashing_ns += record.hashing_ns;
      run.steady_ns = std::max(run.steady_ns, record.end_ns - start_ns);
    }
    run.hashing_ns /= static_cast<int64_t>(records.size());
    // Both clocks over the same span: what follows the last call is taken off the second one too.
    run.system_ns -= now - start_ns - run.steady_ns;
    return run;
  }

  std::vector<Record> records;
  int64_t start_ns;

 private:
  const Clocks& clocks_;
  int64_t system_start_ns_;
};

bool is_met(const MeasurePlan& plan, size_t count, int64_t elapsed_ns) {
  const auto done = static_cast<int64_t>(count);
  return (done >= plan.min_iterations && elapsed_ns >= plan.min_duration_ns) || done >= kMaxSamples;
}

}  // namespace

ScenarioRun run_multi_stream(Team& team, System& system, const MeasurePlan& plan,
                             const Clocks& clocks) {
  const size_t streams = system.streams();
  Running running(streams, clocks);
  std::vector<int64_t> samples_ns;
  do {
    throw_if_interrupted();
    const size_t first = samples_ns.size() * streams;
    const int64_t start = clocks.steady_ns();
    team.run([&](size_t stream) {
      const size_t sample = (first + stream) % system.samples();
      call_and_check(system, stream, sample, clocks, running.records[stream]);
    });
    const auto last = std::ranges::max_element(running.records, {}, &Record::end_ns);
    samples_ns.push_back(last->end_ns - start);
  } while (!is_met(plan, samples_ns.size(), clocks.steady_ns() - running.start_ns));
  return running.end(std::move(samples_ns));
}

ScenarioRun run_offline(Team& team, System& system, const MeasurePlan& plan, const Clocks& clocks) {
  struct Call {
    int64_t begin_ns;
    int64_t end_ns;
  };
  std::vector<std::vector<Call>> calls(system.streams());
  Running running(system.streams(), clocks);
  std::atomic<size_t> next{0};
  team.run([&](size_t stream) {
    while (true) {
      throw_if_interrupted();
      const size_t index = next++;
      const int64_t begin = clocks.steady_ns();
      if (index > 0 && is_met(plan, index, begin - running.start_ns)) return;
      const size_t sample = index % system.samples();
      const int64_t end = call_and_check(system, stream, sample, clocks, running.records[stream]);
      calls[stream].push_back({begin, end});
    }
  });
  std::vector<Call> all;
  for (const std::vector<Call>& some : calls) all.insert(all.end(), some.begin(), some.end());
  std::ranges::sort(all, {}, &Call::begin_ns);
  std::vector<int64_t> samples_ns;
  for (const Call& call : all) samples_ns.push_back(call.end_ns - call.begin_ns);
  return running.end(std::move(samples_ns));
}

ScenarioRun run_server(Team& team, System& system, const ServerPlan& plan, const Clocks& clocks) {
  constexpr int64_t kUnanswered = -1;
  std::vector<int64_t> samples_ns(plan.arrivals.size(), kUnanswered);
  Running running(system.streams(), clocks);
  std::atomic<size_t> next{0};
  std::atomic<int64_t> late{0};
  team.run([&](size_t stream) {
    for (size_t query = next++; query < plan.arrivals.size(); query = next++) {
      if (late > plan.most_late) return;
      const int64_t arrival = running.start_ns + plan.arrivals[query];
      sleep_until(arrival);
      const size_t sample = query % system.samples();
      const int64_t end = call_and_check(system, stream, sample, clocks, running.records[stream]);
      samples_ns[query] = end - arrival;
      if (samples_ns[query] >= plan.bound_ns) ++late;
    }
  });
  std::erase(samples_ns, kUnanswered);
  return running.end(std::move(samples_ns));
}

double calls_per_s(const ScenarioRun& run) {
  const int64_t busy_ns = std::max<int64_t>(1, run.steady_ns - run.hashing_ns);
  return static_cast<double>(run.calls) * 1e9 / static_cast<double>(busy_ns);
}

}  // namespace zoo
