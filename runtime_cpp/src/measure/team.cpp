#include "measure/team.h"

#include <sys/prctl.h>

#include <utility>

namespace zoo {

namespace {
constexpr unsigned long kTimerSlackNs = 1000;
}  // namespace

Team::Team(size_t count, const Job& enter) {
  threads_.reserve(count);
  try {
    for (size_t i = 0; i < count; ++i) threads_.emplace_back([this, i] { work(i); });
    run(enter);
  } catch (...) {
    stop();
    throw;
  }
}

Team::~Team() { stop(); }

void Team::run(const Job& job) {
  std::unique_lock lock(mutex_);
  job_ = &job;
  busy_ = threads_.size();
  ++turn_;
  asked_.notify_all();
  answered_.wait(lock, [&] { return busy_ == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Team::work(size_t stream) {
  // Linux may wake a sleeper 50 us late to save power. That would count as latency.
  ::prctl(PR_SET_TIMERSLACK, kTimerSlackNs, 0, 0, 0);
  size_t done = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    asked_.wait(lock, [&] { return turn_ != done; });
    done = turn_;
    if (job_ == nullptr) return;
    const Job& job = *job_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      job(stream);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure && !failure_) failure_ = failure;
    if (--busy_ == 0) answered_.notify_one();
  }
}

void Team::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    job_ = nullptr;
    ++turn_;
  }
  asked_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace zoo
