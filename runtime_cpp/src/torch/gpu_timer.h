#pragma once

#include <c10/core/DeviceType.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <optional>

namespace zoo {

// Times what a GPU does by its own events, which wall clocks around a call cannot: these see the
// wait for the driver too. On cpu it does nothing.
class GpuTimer {
 public:
  explicit GpuTimer(c10::DeviceType type);

  // Around one call, on the stream that is current then.
  void start();
  void stop();
  // Nanoseconds between the two, once the device is done; nothing where none was timed.
  [[nodiscard]] std::optional<int64_t> take_ns();

 private:
  [[nodiscard]] c10::Stream stream() const;

  c10::DeviceType type_;
  std::optional<c10::Event> begin_;
  std::optional<c10::Event> end_;
  bool timed_ = false;
};

}  // namespace zoo
