#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace zoo {

// Threads that stay, one for each stream, and do the same work side by side.
class Team {
 public:
  using Job = std::function<void(size_t stream)>;

  // Starts `count` threads. Each calls `enter` first; what that throws, this throws.
  Team(size_t count, const Job& enter);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Every thread does the job once. Returns when all are done; throws what the first one threw.
  void run(const Job& job);

 private:
  void work(size_t stream);
  void stop() noexcept;

  std::mutex mutex_;
  std::condition_variable asked_;
  std::condition_variable answered_;
  const Job* job_ = nullptr;  // null: leave
  size_t turn_ = 0;           // counts the jobs
  size_t busy_ = 0;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace zoo
