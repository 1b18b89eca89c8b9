#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace zoo::testing {

// A folder that goes away with the test.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

void write_file(const std::string& path, const std::string& bytes);
[[nodiscard]] std::string read_file(const std::string& path);
[[nodiscard]] std::span<const std::byte> as_bytes(const std::string& text);

// One member of a zip archive; what stands in the two headers can be made to differ.
struct ZipSpec {
  std::string name;
  std::string data = "x";
  uint16_t method = 0;
  uint16_t flags = 0;
  std::optional<std::string> local_name = std::nullopt;
  std::optional<uint32_t> claimed_bytes = std::nullopt;
};
[[nodiscard]] std::string make_zip(const std::vector<ZipSpec>& members);

// A manifest that keeps the contract, without its files.
[[nodiscard]] Json make_manifest();
// One more output, without classes: as a map of channels where it has more than one dimension.
void add_output(Json& manifest, const std::string& name, const std::vector<int64_t>& shape);
// One more golden row, with its bounds.
void add_sample(Json& manifest, const std::string& kind, double e_eager, double floor);
// Makes it keep the contract as "proved", "pending" or "accepted".
void set_status(Json& manifest, const std::string& status);
// The golden.safetensors that goes with it, of zeros.
[[nodiscard]] std::string make_golden(size_t rows = 16);

// Writes an artifact with correct sizes and hashes.
void write_artifact(const std::string& folder, Json manifest,
                    const std::map<std::string, std::string>& files);
// Writes the manifest as it is, with its hash.
void write_manifest(const std::string& folder, const std::string& text);

// The exit code of what `work` throws; kDone where it throws nothing.
template <typename Work>
[[nodiscard]] ExitCode exit_code_of(Work&& work, std::string* message = nullptr) {
  try {
    work();
    return ExitCode::kDone;
  } catch (const RunnerError& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
}

// Expects a refusal with this code whose message holds `part` and is one line.
#define EXPECT_REFUSED(code, part, ...)                                                  \
  do {                                                                                   \
    std::string refusal;                                                                 \
    EXPECT_EQ(zoo::testing::exit_code_of([&] { (void)(__VA_ARGS__); }, &refusal), code); \
    EXPECT_NE(refusal.find(part), std::string::npos) << refusal;                         \
    EXPECT_EQ(refusal.find('\n'), std::string::npos) << refusal;                         \
  } while (false)

}  // namespace zoo::testing
