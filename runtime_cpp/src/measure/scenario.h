#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/clocks.h"
#include "measure/measure.h"
#include "measure/team.h"

namespace zoo {

// How queries come, as MLPerf LoadGen names it.
enum class Scenario {
  kSingleStream,  // one call after another
  kMultiStream,   // a query is a call in each stream at once, and ends with the last of them
  kOffline,       // everything is there; the streams call as fast as they can
  kServer,        // queries arrive when they like
};
inline constexpr std::string_view kScenarioNames[] = {"single-stream", "multi-stream", "offline",
                                                      "server"};
[[nodiscard]] constexpr std::string_view scenario_name(Scenario scenario) {
  return kScenarioNames[static_cast<size_t>(scenario)];
}

// What a scenario calls: a loaded program in some streams, each a thread of its own. A sample is
// the input of one call; the samples differ.
class System {
 public:
  System() = default;
  virtual ~System() = default;
  System(const System&) = delete;
  System& operator=(const System&) = delete;

  [[nodiscard]] virtual size_t streams() const = 0;
  [[nodiscard]] virtual size_t samples() const = 0;

  // Called first in the thread of each stream.
  virtual void enter(size_t stream) = 0;
  // Answers a sample, or kFilled.
  virtual void call(size_t stream, size_t sample) = 0;
  // Whether the last answer of the stream has the bits of the sample's answer that was checked.
  [[nodiscard]] virtual bool is_right(size_t stream, size_t sample) = 0;

  // Writes a sample into the buffer that call(0, kFilled) takes. A salt other than 0 changes it
  // into an input that no call had before.
  virtual void fill(size_t sample, uint64_t salt) = 0;
  static constexpr size_t kFilled = std::numeric_limits<size_t>::max();
};

// What a scenario came to. Hashing the answers is in no latency.
struct ScenarioRun {
  std::vector<int64_t> samples_ns =
      {};  // the latency of each query, in the order in which they began
  int64_t calls = 0;
  int64_t wrong = 0;      // answers with other bits than those that were checked
  int64_t steady_ns = 0;  // from the start to the end of the last call, by each clock
  int64_t system_ns = 0;
  int64_t hashing_ns = 0;  // within that, and of the mean stream
};

// Queries one after another: in each, every stream makes one call. At least one query.
[[nodiscard]] ScenarioRun run_multi_stream(Team& team, System& system, const MeasurePlan& plan,
                                           const Clocks& clocks);

// Calls back to back in every stream, until the plan's calls and time are both met.
[[nodiscard]] ScenarioRun run_offline(Team& team, System& system, const MeasurePlan& plan,
                                      const Clocks& clocks);

// One query for each arrival (nanoseconds after the start). The next stream that is free takes it.
// Latency counts from the arrival, so a query that waits is as late as it is. Ends early when more
// than `most_late` queries took `bound_ns` or longer.
struct ServerPlan {
  std::span<const int64_t> arrivals;
  int64_t bound_ns = 0;
  int64_t most_late = std::numeric_limits<int64_t>::max();
};
[[nodiscard]] ScenarioRun run_server(Team& team, System& system, const ServerPlan& plan,
                                     const Clocks& clocks);

// Calls per second of the time in which the streams were not hashing.
[[nodiscard]] double calls_per_s(const ScenarioRun& run);

}  // namespace zoo
