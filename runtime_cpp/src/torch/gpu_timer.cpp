#include "torch/gpu_timer.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <cmath>

namespace zoo {

GpuTimer::GpuTimer(c10::DeviceType type) : type_(type) {
  if (type == c10::DeviceType::CPU) return;
  begin_.emplace(type, c10::EventFlag::BACKEND_DEFAULT);  // the default of torch keeps no time
  end_.emplace(type, c10::EventFlag::BACKEND_DEFAULT);
}

void GpuTimer::start() {
  if (begin_) begin_->record(stream());
}

void GpuTimer::stop() {
  if (!end_) return;
  end_->record(stream());
  timed_ = true;
}

std::optional<int64_t> GpuTimer::take_ns() {
  if (!timed_) return std::nullopt;
  timed_ = false;
  return std::llround(begin_->elapsedTime(*end_) * 1e6);
}

c10::Stream GpuTimer::stream() const {
  return c10::impl::VirtualGuardImpl(type_).getStream(c10::Device(type_, 0));
}

}  // namespace zoo
