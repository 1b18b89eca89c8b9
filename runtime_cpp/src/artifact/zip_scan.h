#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace zoo {

struct ZipMember {
  std::string name;
  uint64_t stored_bytes = 0;
  uint64_t bytes = 0;
  bool deflated = false;
};

struct ZipRules {
  // Text members under <stem>/code/ may be deflated, as torch writes them into a TorchScript file.
  bool deflated_code = false;
};

// Reads the directory of a zip archive, and nothing else: no member is unpacked. Returns the
// members, or fails when the archive is damaged, ambiguous, or holds a member that a loader must
// not see. `name` names the file in messages.
[[nodiscard]] std::vector<ZipMember> scan_zip(std::span<const std::byte> bytes,
                                              const std::string& name, ZipRules rules);

}  // namespace zoo
