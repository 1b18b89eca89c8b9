#include "artifact/npy.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"

namespace zoo {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;  // of the data, as numpy has it
constexpr size_t kMaxHeaderBytes = 65'535;

struct Row {
  std::string_view descr;
  std::string_view dtype;
};
constexpr std::array kDtypes = {Row{"<f4", "F32"}, Row{"<f8", "F64"}, Row{"|u1", "U8"}};

// A dict of three entries in Python's notation: {'descr': '<f4', 'fortran_order': False,
// 'shape': (3, 4), }
class Header {
 public:
  Header(std::string_view text, const std::string& file) : text_(text), file_(file) {
    expect('{');
    while (!take('}')) {
      read_entry();
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (!text_.empty()) fail("text follows its header");
    if (!descr_ || !in_c_order_ || !shape_) fail("its header lacks descr, fortran_order or shape");
  }

  [[nodiscard]] std::string dtype() const {
    for (const Row& row : kDtypes) {
      if (row.descr == *descr_) return std::string(row.dtype);
    }
    fail("its values are " + *descr_ + ", little-endian float32, float64 or uint8 are wanted");
  }
  [[nodiscard]] const std::vector<int64_t>& shape() const {
    if (!*in_c_order_) fail("it is in Fortran's order; save numpy.ascontiguousarray(x)");
    return *shape_;
  }
  [[noreturn]] void fail(const std::string& what) const {
    fail_artifact(file_ + ": not a .npy file that can be read: " + what);
  }

 private:
  void skip_spaces() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size()));
  }
  bool take(char c) {
    skip_spaces();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("its header lacks '") + c + "'");
  }
  bool take_word(std::string_view word) {
    skip_spaces();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  void read_entry() {
    const std::string key = read_text();
    expect(':');
    const bool repeated = (key == "descr" && descr_) || (key == "shape" && shape_) ||
                          (key == "fortran_order" && in_c_order_);
    if (repeated) fail("its header holds a key twice");
    if (key == "descr") {
      descr_ = read_text();
    } else if (key == "fortran_order") {
      in_c_order_ = take_word("False");
      if (!*in_c_order_ && !take_word("True")) fail("its fortran_order is neither True nor False");
    } else if (key == "shape") {
      shape_ = read_shape();
    } else {
      fail("its header holds the key '" + key + "'");
    }
  }

  std::string read_text() {
    const char quote = take('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const size_t end = text_.find(quote);
    if (end == std::string_view::npos) fail("a text in its header does not end");
    std::string text(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return text;
  }

  // (), (3,), (3, 4): a pair of brackets around one number makes no tuple.
  std::vector<int64_t> read_shape() {
    expect('(');
    std::vector<int64_t> shape;
    while (!take(')')) {
      shape.push_back(read_extent());
      if (shape.size() > kMaxRank) fail("it has more than 9 dimensions");
      if (take(',')) continue;
      if (shape.size() < 2) fail("its shape is not a tuple");
      expect(')');
      break;
    }
    return shape;
  }

  int64_t read_extent() {
    skip_spaces();
    int64_t extent = 0;
    const char* end = text_.data() + text_.size();
    const auto parsed = std::from_chars(text_.data(), end, extent);
    const auto digits = static_cast<size_t>(parsed.ptr - text_.data());
    const bool plain = text_.starts_with('0') ? digits == 1 : !text_.starts_with('-');
    if (parsed.ec != std::errc() || !plain) {
      fail("its shape holds something other than sizes");
    }
    text_.remove_prefix(digits);
    return extent;
  }

  std::string_view text_;
  const std::string& file_;
  std::optional<std::string> descr_;
  std::optional<bool> in_c_order_;
  std::optional<std::vector<int64_t>> shape_;
};

[[noreturn]] void fail_npy(const std::string& file, const std::string& what) {
  fail_artifact(file + ": not a .npy file that can be read: " + what);
}

}  // namespace

TensorView parse_npy(std::span<const std::byte> bytes, const std::string& file) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic)) fail_npy(file, "it does not begin as one");
  const auto byte = [&](size_t at) { return std::to_integer<size_t>(bytes[at]); };
  constexpr size_t kVersionAt = kMagic.size();
  constexpr size_t kLengthAt = kVersionAt + 2;
  if (bytes.size() < kLengthAt + 4) fail_npy(file, "it is cut off");
  const size_t version = byte(kVersionAt);
  if (version < 1 || version > 3 || byte(kVersionAt + 1) != 0) {
    fail_npy(file, "it has another version than 1.0, 2.0 or 3.0");
  }
  const size_t length_bytes = version == 1 ? 2 : 4;
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) length |= byte(kLengthAt + i) << (8 * i);
  const size_t start = kLengthAt + length_bytes;
  if (length > kMaxHeaderBytes || length > bytes.size() - start) {
    fail_npy(file, "its header claims " + std::to_string(length) + " bytes");
  }
  const Header header(text.substr(start, length), file);
  TensorView tensor{"", header.dtype(), header.shape(), bytes.subspan(start + length)};
  const auto wanted = tensor_bytes(tensor.dtype, tensor.shape);
  if (!wanted || *wanted != static_cast<int64_t>(tensor.bytes.size())) {
    header.fail("it is " + describe(tensor.dtype, tensor.shape) + " and holds " +
                std::to_string(tensor.bytes.size()) + " bytes of data");
  }
  return tensor;
}

std::string npy_header(const TensorView& tensor) {
  const auto* row = std::ranges::find(kDtypes, tensor.dtype, &Row::dtype);
  std::string header = "{'descr': '" + std::string(row->descr) + "', 'fortran_order': False, ";
  header += "'shape': (";
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    header += (i == 0 ? "" : " ") + std::to_string(tensor.shape[i]) + ",";
  }
  header += "), }";
  const size_t before = kMagic.size() + 4;
  const size_t whole = (before + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(whole - before - 1, ' ');
  header += '\n';
  std::string bytes(kMagic);
  bytes += {'\x01', '\x00', static_cast<char>(header.size() & 0xff),
            static_cast<char>(header.size() >> 8)};
  return bytes + header;
}

std::string npy_bytes(const TensorView& tensor) {
  std::string bytes = npy_header(tensor);
  bytes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  return bytes;
}

}  // namespace zoo
