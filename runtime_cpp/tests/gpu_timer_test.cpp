// The timer on a device that is none: its events carry the time of a clock that the test moves.
#include "torch/gpu_timer.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gtest/gtest.h>

#include <list>

namespace zoo {
namespace {

double clock_ms = 0;
int64_t records = 0;

struct FakeGpu final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  c10::Device getDevice() const override { return {type(), 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const c10::Stream&, c10::DeviceIndex,
              c10::EventFlag flag) const override {
    EXPECT_EQ(flag, c10::EventFlag::BACKEND_DEFAULT) << "such events keep no time";
    if (*event == nullptr) *event = &times.emplace_back();
    *static_cast<double*>(*event) = clock_ms;
    ++records;
  }
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
  double elapsedTime(void* begin, void* end, c10::DeviceIndex) const override {
    return *static_cast<double*>(end) - *static_cast<double*>(begin);
  }
  mutable std::list<double> times;
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, FakeGpu)

TEST(GpuTimer, TakesTheTimeOfEachCallOnce) {
  GpuTimer timer(c10::DeviceType::PrivateUse1);
  EXPECT_EQ(timer.take_ns(), std::nullopt);
  for (const double call_ms : {1.5, 0.25}) {
    timer.start();
    clock_ms += call_ms;
    timer.stop();
    clock_ms += 100;  // what comes after is not the call's
    EXPECT_EQ(timer.take_ns(), static_cast<int64_t>(call_ms * 1e6));
    EXPECT_EQ(timer.take_ns(), std::nullopt);
  }
  EXPECT_EQ(records, 4);
}

TEST(GpuTimer, DoesNothingOnCpu) {
  GpuTimer timer(c10::DeviceType::CPU);
  timer.start();
  timer.stop();
  EXPECT_EQ(timer.take_ns(), std::nullopt);
}

}  // namespace
}  // namespace zoo
