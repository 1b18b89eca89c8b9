// sharing ARTIFACT BATCH...: a thread for each batch calls one artifact, which they share,
// again and again. Prints whether each call gave the bits of the first one, which no other thread
// disturbed.
#include <zoo_runtime/artifact.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <iostream>
#include <thread>

namespace {

constexpr int kCalls = 100;

bool is_same(const zoo::Artifact::Outputs& one, const zoo::Artifact::Outputs& other) {
  for (size_t i = 0; i < one.size(); ++i) {
    const size_t bytes = one[i].size() * sizeof(float);
    if (std::memcmp(one[i].data(), other[i].data(), bytes) != 0) return false;
  }
  return one.size() == other.size();
}

struct Caller {
  int64_t batch;
  std::vector<float> images;
  zoo::Artifact::Outputs first;
};

}  // namespace

int main(int argc, char** argv) try {
  const auto artifact = zoo::Artifact::load(argv[1], {.threads = 2});
  std::vector<Caller> callers;
  for (int i = 2; i < argc; ++i) {
    Caller caller{std::stoi(argv[i]), {}, {}};
    caller.images.resize(static_cast<size_t>(caller.batch) * artifact.input().size);
    for (size_t j = 0; j < caller.images.size(); ++j) {
      caller.images[j] = std::sin(static_cast<float>(j * static_cast<size_t>(i)));
    }
    caller.first = artifact.run(caller.images, caller.batch);
    callers.push_back(caller);
  }
  std::atomic<int> different = 0;
  std::vector<std::jthread> threads;
  for (const Caller& caller : callers) {
    threads.emplace_back([&] {
      for (int call = 0; call < kCalls; ++call) {
        try {
          if (!is_same(artifact.run(caller.images, caller.batch), caller.first)) ++different;
        } catch (const zoo::Error&) {
          ++different;
        }
      }
    });
  }
  threads.clear();
  std::cout << different << " of " << kCalls * callers.size() << " differ\n";
} catch (const zoo::Error& error) {
  std::cerr << error.what() << '\n';
  return error.exit_code();
}
