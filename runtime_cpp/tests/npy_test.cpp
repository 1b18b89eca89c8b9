#include "artifact/npy.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace zoo {
namespace {

using testing::as_bytes;

// A .npy file of this header, claimed to be as long as it is unless said otherwise.
std::string make_file(const std::string& header, size_t data, int major = 1, int minor = 0,
                      std::optional<uint64_t> claimed = std::nullopt) {
  std::string bytes = "\x93NUMPY";
  bytes += {static_cast<char>(major), static_cast<char>(minor)};
  uint64_t left = claimed.value_or(header.size());
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i, left >>= 8) {
    bytes += static_cast<char>(left & 0xff);
  }
  return bytes + header + std::string(data, '\0');
}

std::string header_of(const std::string& shape, const std::string& descr = "'<f4'",
                      const std::string& fortran = "False") {
  return "{'descr': " + descr + ", 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

TensorView parse(const std::string& bytes) { return parse_npy(as_bytes(bytes), "x.npy"); }

void expect_refused(const std::string& bytes, const std::string& part) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, part, parse(bytes));
}

TEST(Npy, ReadsWhatItWrites) {
  const std::string data(24, 'x');
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{6}, std::vector<int64_t>{2, 3}, std::vector<int64_t>{1, 2, 3}}) {
    const std::string file = npy_bytes({"", "F32", shape, as_bytes(data)});
    EXPECT_EQ((file.size() - data.size()) % 64, 0u);
    const TensorView read = parse(file);
    EXPECT_EQ(read.shape, shape);
    EXPECT_EQ(read.dtype, "F32");
    EXPECT_EQ(read.bytes.size(), 24u);
  }
  EXPECT_EQ(parse(npy_bytes({"", "U8", {24}, as_bytes(data)})).dtype, "U8");
  EXPECT_EQ(parse(npy_bytes({"", "F64", {}, as_bytes(data.substr(0, 8))})).shape.size(), 0u);
  EXPECT_EQ(parse(npy_bytes({"", "F32", {0, 3}, {}})).shape, (std::vector<int64_t>{0, 3}));
}

TEST(Npy, ReadsEveryVersionAndNotation) {
  for (const int major : {1, 2, 3}) {
    EXPECT_EQ(parse(make_file(header_of("(2, 3)"), 24, major)).shape, (std::vector<int64_t>{2, 3}));
  }
  for (const char* shape : {"(6,)", "(2, 3)", "(2,3,)", "( 2 , 3 )"}) {
    EXPECT_EQ(parse(make_file(header_of(shape), 24)).bytes.size(), 24u) << shape;
  }
  const std::string other = R"({"shape": (2,), "fortran_order":False,"descr":"|u1"})";
  EXPECT_EQ(parse(make_file(other, 2)).dtype, "U8");
}

TEST(Npy, RefusesWhatIsNone) {
  const std::string good = make_file(header_of("(2, 3)"), 24);
  for (size_t length = 0; length < good.size(); ++length) {
    expect_refused(good.substr(0, length), "x.npy: not a .npy file");
  }
  expect_refused(good + "x", "holds 25 bytes of data");
  expect_refused("PK\x03\x04 an .npz file is a zip archive", "does not begin as one");
  expect_refused(make_file(header_of("(6,)"), 24, 4), "another version");
  expect_refused(make_file(header_of("(6,)"), 24, 0), "another version");
  expect_refused(make_file(header_of("(6,)"), 24, 1, 1), "another version");
  expect_refused(make_file(header_of("(6,)"), 24, 2, 0, uint64_t{1} << 31), "header claims");
  expect_refused(make_file(header_of("(6,)"), 24, 1, 0, 500), "header claims 500 bytes");
}

TEST(Npy, RefusesOtherValuesAndOrders) {
  for (const char* descr : {"'>f4'", "'=f4'", "'f4'", "'<f2'", "'<i8'", "'|O'", "'|b1'", "'<U3'",
                            "''", "[('a', '<f4')]"}) {
    expect_refused(make_file(header_of("(6,)", descr), 24), "x.npy");
  }
  expect_refused(make_file(header_of("(6,)", "'|O'"), 24), "its values are |O");
  expect_refused(make_file(header_of("(2, 3)", "'<f4'", "True"), 24), "Fortran's order");
  expect_refused(make_file(header_of("(2, 3)", "'<f4'", "0"), 24), "neither True nor False");
  expect_refused(make_file(header_of("(2, 3)", "'<f4'", "false"), 24), "neither True nor False");
}

TEST(Npy, RefusesShapesThatAreNone) {
  for (const char* shape :
       {"6", "(6)", "[6]", "(-6,)", "(6", "(6,,)", "(,)", "(6.0,)", "(6L,)", "('6',)", "(06,)",
        "(-0,)", "(+6,)", "(0x6,)", "(1_0,)", "(None,)", "(__import__('os'),)", "(1+5,)"}) {
    expect_refused(make_file(header_of(shape), 24), "x.npy: not a .npy file");
  }
  expect_refused(make_file(header_of("(1, 1, 1, 1, 1, 1, 1, 1, 1, 6)"), 24), "more than 9");
  for (const char* shape : {"(5,)", "(7,)", "(4294967296, 4294967296)", "(4611686018427387910,)",
                            "(9223372036854775807, 9223372036854775807)"}) {
    expect_refused(make_file(header_of(shape), 24), "holds 24 bytes of data");
  }
  expect_refused(make_file(header_of("(9223372036854775808,)"), 24), "other than sizes");
}

TEST(Npy, RefusesOtherHeaders) {
  for (const char* header :
       {"", "{}", "{'descr': '<f4'}", "[]", "{'descr': '<f4', 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} or f()",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': (6,)}",
        "{,'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
        "{descr: '<f4', 'fortran_order': False, 'shape': (6,)}"}) {
    expect_refused(make_file(header, 24), "x.npy: not a .npy file");
  }
}

}  // namespace
}  // namespace zoo
