#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zoo {

// Fails with 4 where a result could not be written later: the folder is missing or read-only, the
// path is a folder, a symbolic link, or no regular file. To be called before any work starts.
void check_writable(const std::string& path);

// Writes the whole file or nothing: beside it, flushed, then renamed into place.
void write_atomically(const std::string& path, std::string_view bytes);
// The same for a file whose pieces lie apart in memory.
void write_atomically(const std::string& path, const std::vector<std::string_view>& pieces);

}  // namespace zoo
