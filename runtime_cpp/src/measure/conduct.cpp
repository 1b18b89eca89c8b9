#include "measure/conduct.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "measure/random.h"

namespace zoo {

namespace {

constexpr double kNsPerMs = 1e6;
constexpr double kFirstShare = 0.5;  // of what the streams can do at best: where the search starts

MeasurePlan plan_warmup(const ScenarioPlan& plan) {
  if (plan.warmup) return {.warmup_calls = {}, .min_iterations = *plan.warmup};
  return {.warmup_calls = {},
          .min_iterations = kDefaultWarmupCalls,
          .min_duration_ns = static_cast<int64_t>(kDefaultWarmupS * 1e9)};
}

int64_t median_of(const ScenarioRun& run) {
  std::vector<int64_t> sorted = run.samples_ns;
  std::ranges::sort(sorted);
  return median(sorted);
}

// So many queries that both limits are met at this rate.
size_t count_queries(const ScenarioPlan& plan, double rate) {
  const bool neither = !plan.iterations && !plan.duration_s;
  const double seconds = neither ? kDefaultDurationS : plan.duration_s.value_or(0);
  const int64_t least = plan.iterations.value_or(neither ? kDefaultServerQueries : 1);
  const double timed = std::min(std::ceil(rate * seconds), static_cast<double>(kMaxSamples));
  return static_cast<size_t>(std::max(least, static_cast<int64_t>(timed)));
}

std::optional<int64_t> p99_of(const ScenarioRun& run) {
  std::vector<int64_t> sorted = run.samples_ns;
  std::ranges::sort(sorted);
  if (sorted.empty()) return std::nullopt;
  return supported_percentile(sorted, kServerPercentile);
}

// The server at one rate after the other; `run` is the last of them.
class Server {
 public:
  Server(Team& team, System& system, const ScenarioPlan& plan, const Clocks& clocks)
      : team_(team), system_(system), plan_(plan), clocks_(clocks), seeds_(plan.seed) {}

  RateStep attempt(double rate, bool ends_early) {
    const std::vector<int64_t> arrivals =
        poisson_arrivals(rate, count_queries(plan_, rate), seeds_.next());
    const auto bound_ns = static_cast<int64_t>(plan_.p99_ms * kNsPerMs);
    // More late ones than this, and the p99 cannot lie under the bound any more.
    const auto allowed = static_cast<int64_t>(arrivals.size() / 100);
    run = run_server(team_, system_,
                     {.arrivals = arrivals,
                      .bound_ns = bound_ns,
                      .most_late = ends_early ? allowed : std::numeric_limits<int64_t>::max()},
                     clocks_);
    RateStep step{.rate_per_s = rate, .queries = static_cast<int64_t>(run.samples_ns.size())};
    step.p99_ns = p99_of(run);
    const bool complete = run.samples_ns.size() == arrivals.size();
    step.passed = complete && step.p99_ns && *step.p99_ns < bound_ns;
    return step;
  }

  ScenarioRun run;

 private:
  Team& team_;
  System& system_;
  const ScenarioPlan& plan_;
  const Clocks& clocks_;
  Random seeds_;
};

void serve(Team& team, System& system, const ScenarioPlan& plan, const Clocks& clocks,
           ScenarioResult& result) {
  Server server(team, system, plan, clocks);
  RateStep step;
  if (plan.rate) {
    step = server.attempt(*plan.rate, false);
    result.rate = plan.rate;
  } else {
    const double call_s = static_cast<double>(std::max<int64_t>(1, median_of(result.warmup))) / 1e9;
    const double start = kFirstShare * static_cast<double>(system.streams()) / call_s;
    RateSearch search = search_rate(start, [&](double rate) { return server.attempt(rate, true); });
    step = search.steps.back();
    result.rate = step.rate_per_s;
    result.search = std::move(search.steps);
    if (!search.rate) result.reasons.emplace_back("the search found no rate that passes twice");
  }
  result.run = std::move(server.run);
  if (!step.p99_ns) {
    result.reasons.push_back(format("%lld queries are too few for a p99, at least 1000 are needed",
                                    static_cast<long long>(step.queries)));
  } else if (!step.passed) {
    result.reasons.push_back(
        format("the p99 is %.4f ms, it must lie under %g ms", to_ms(*step.p99_ns), plan.p99_ms));
  }
}

void add_doubts(const ScenarioPlan& plan, ScenarioResult& result) {
  const auto skew = clock_skew(result.run.steady_ns, result.run.system_ns);
  Summary summary = summarize(result.run.samples_ns, {});
  if (plan.scenario == Scenario::kServer) {
    // Queries wait for each other, so their median and halves may differ: the bound decides.
    summary.median_interval = Interval{summary.median, summary.median};
    summary.drift.reset();
  }
  const auto add = [&](const std::string& reason) {
    if (!reason.empty()) result.reasons.push_back(reason);
  };
  for (const std::string& reason : invalid_reasons(summary, skew)) add(reason);
  add(answers_flaw(result.run.wrong + result.repetition.wrong + result.warmup.wrong,
                   result.run.calls + result.repetition.calls + result.warmup.calls));
  add(repetition_flaw(result.repetition));
}

}  // namespace

ScenarioResult conduct(Team& team, System& system, const ScenarioPlan& plan, const Clocks& clocks) {
  ScenarioResult result;
  result.warmup = run_multi_stream(team, system, plan_warmup(plan), clocks);
  const int64_t call_ns = median_of(result.warmup);
  const MeasurePlan measured = make_plan({}, plan.iterations, plan.duration_s);
  if (plan.scenario == Scenario::kServer) {
    serve(team, system, plan, clocks, result);
  } else if (plan.scenario == Scenario::kOffline) {
    result.run = run_offline(team, system, measured, clocks);
  } else {
    result.run = run_multi_stream(team, system, measured, clocks);
  }
  result.repetition = compare_repeated(team, system, call_ns, plan.seed, clocks);
  add_doubts(plan, result);
  return result;
}

}  // namespace zoo
