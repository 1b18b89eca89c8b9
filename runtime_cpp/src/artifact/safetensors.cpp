#include "artifact/safetensors.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace zoo {

namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = uint64_t{1} << 20;
constexpr int kMaxDepth = 8;
constexpr const char* kMetadata = "__metadata__";

uint64_t read_length(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    value |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  }
  return value;
}

// One file that is being read, for its messages.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& file) : file_(file) {
    if (bytes.size() < kLengthBytes) fail("it has fewer than 8 bytes");
    const uint64_t length = read_length(bytes);
    bytes = bytes.subspan(kLengthBytes);
    if (length < 2 || length > kMaxHeaderBytes || length > bytes.size()) {
      fail("its header claims " + std::to_string(length) + " bytes");
    }
    const auto* start = reinterpret_cast<const char*>(bytes.data());
    header_ = {start, static_cast<size_t>(length)};
    data_ = bytes.subspan(static_cast<size_t>(length));
  }

  [[nodiscard]] std::vector<TensorView> read() const {
    if (!header_.starts_with('{')) fail("its header does not start with {");
    std::vector<TensorView> tensors;
    const Json header = parse_json(header_, file_ + ": its header", kMaxDepth);
    for (const auto& [name, entry] : header.items()) {
      if (name == kMetadata) {
        check_metadata(entry);
      } else {
        tensors.push_back(read_entry(name, entry));
      }
    }
    // By their ends too: a tensor without values begins where its neighbour does.
    std::ranges::sort(tensors, {}, [](const TensorView& tensor) {
      return std::pair(tensor.bytes.data(), tensor.bytes.size());
    });
    check_cover(tensors);
    return tensors;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    fail_artifact(file_ + ": not a sound safetensors file: " + what);
  }
  [[noreturn]] void fail_entry(const std::string& name, const std::string& what) const {
    fail("'" + name + "' " + what);
  }

  void check_metadata(const Json& entry) const {
    const bool texts = entry.is_object() && std::ranges::all_of(entry, [](const Json& note) {
                         return note.is_string();
                       });
    if (!texts) fail("__metadata__ must be an object of strings");
  }

  // Integers from 0 up that a file can mean; nothing where one is not.
  static std::optional<std::vector<int64_t>> read_counts(const Json& list) {
    if (!list.is_array()) return std::nullopt;
    std::vector<int64_t> counts;
    for (const Json& item : list) {
      if (!item.is_number_integer() || item > INT64_MAX || item < 0) return std::nullopt;
      counts.push_back(item.get<int64_t>());
    }
    return counts;
  }

  [[nodiscard]] TensorView read_entry(const std::string& name, const Json& entry) const {
    const bool complete = entry.is_object() && entry.size() == 3 && entry.contains("dtype") &&
                          entry.contains("shape") && entry.contains("data_offsets");
    if (!complete) fail_entry(name, "must have dtype, shape and data_offsets, nothing else");
    const Json& dtype = entry["dtype"];
    if (!dtype.is_string() || !dtype_bytes(dtype.get<std::string>())) {
      fail_entry(name, "has an unknown dtype");
    }
    const auto shape = read_counts(entry["shape"]);
    if (!shape || shape->size() > kMaxRank) fail_entry(name, "has an impossible shape");
    const auto offsets = read_counts(entry["data_offsets"]);
    const auto size = static_cast<int64_t>(data_.size());
    if (!offsets || offsets->size() != 2 || offsets->front() > offsets->back() ||
        offsets->back() > size) {
      fail_entry(name, "has impossible offsets in " + std::to_string(size) + " bytes of data");
    }
    const int64_t length = offsets->back() - offsets->front();
    if (tensor_bytes(dtype.get<std::string>(), *shape) != length) {
      fail_entry(name, "needs another number of bytes than lie between its offsets");
    }
    return {name, dtype, *shape,
            data_.subspan(static_cast<size_t>(offsets->front()), static_cast<size_t>(length))};
  }

  // The tensors lie one after the other: no hole, no overlap, nothing behind the last.
  void check_cover(const std::vector<TensorView>& tensors) const {
    const std::byte* free = data_.data();
    for (const TensorView& tensor : tensors) {
      if (tensor.bytes.data() != free) {
        fail("its tensors overlap or leave a hole at '" + tensor.name + "'");
      }
      free += tensor.bytes.size();
    }
    const auto left = data_.size() - static_cast<size_t>(free - data_.data());
    if (left != 0) fail(std::to_string(left) + " bytes lie behind its last tensor");
  }

  const std::string& file_;
  std::string_view header_;
  std::span<const std::byte> data_;
};

}  // namespace

std::vector<TensorView> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::string& file) {
  return Reader(bytes, file).read();
}

std::string safetensors_header(const std::vector<TensorView>& tensors) {
  OrderedJson header = OrderedJson::object();
  size_t end = 0;
  for (const TensorView& tensor : tensors) {
    const size_t begin = end;
    end += tensor.bytes.size();
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data can be mapped aligned
  std::string length;
  for (uint64_t left = text.size(), i = 0; i < kLengthBytes; ++i, left >>= 8) {
    length += static_cast<char>(left & 0xff);
  }
  return length + text;
}

std::string safetensors_bytes(const std::vector<TensorView>& tensors) {
  std::string bytes = safetensors_header(tensors);
  for (const TensorView& tensor : tensors) {
    bytes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  }
  return bytes;
}

}  // namespace zoo
