#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace zoo {

// SHA-256 over bytes that arrive in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  // 64 lowercase hex digits. Call once, last.
  [[nodiscard]] std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string sha256_hex(std::span<const std::byte> bytes);
// True for exactly 64 lowercase hex digits.
[[nodiscard]] bool is_sha256_hex(const std::string& text);

}  // namespace zoo
