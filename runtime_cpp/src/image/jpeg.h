#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "image/picture.h"

namespace zoo {

// A JPEG file in memory, which must live as long as this. Every failure is exit code 3: a file that
// is not one, ends too early or is damaged, also where libjpeg alone would guess what is missing.
class JpegReader {
 public:
  // Reads the header. `name` is the file's, for messages.
  JpegReader(std::span<const std::byte> bytes, std::string name);
  ~JpegReader();
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Of the picture as it is stored.
  [[nodiscard]] int64_t width() const;
  [[nodiscard]] int64_t height() const;
  [[nodiscard]] int orientation() const;

  // The picture as it is stored, grey or RGB, at 1/reduction of its size, rounded up; 1, 2, 4 or 8.
  // To be called once.
  [[nodiscard]] Picture decode(int reduction);

 private:
  struct State;
  [[noreturn]] void fail() const;

  std::string name_;
  std::unique_ptr<State> state_;
};

}  // namespace zoo
