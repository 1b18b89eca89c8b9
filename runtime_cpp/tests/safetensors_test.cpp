#include "artifact/safetensors.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace zoo {
namespace {

using testing::as_bytes;

// A file of this header and `data` bytes of data; its length is the header's own unless claimed.
std::string make_file(const std::string& header, size_t data = 0,
                      std::optional<uint64_t> claimed = std::nullopt) {
  std::string bytes;
  for (uint64_t left = claimed.value_or(header.size()), i = 0; i < 8; ++i, left >>= 8) {
    bytes += static_cast<char>(left & 0xff);
  }
  return bytes + header + std::string(data, '\0');
}

std::vector<TensorView> parse(const std::string& bytes) {
  return parse_safetensors(as_bytes(bytes), "f.safetensors");
}

void expect_refused(const std::string& bytes, const std::string& part) {
  EXPECT_REFUSED(ExitCode::kBadArtifact, part, parse(bytes));
}

// One tensor "a" of 2 float32 values but for what is given.
std::string entry(const std::string& dtype = R"("F32")", const std::string& shape = "[2]",
                  const std::string& offsets = "[0, 8]") {
  return R"({"a": {"dtype": )" + dtype + R"(, "shape": )" + shape + R"(, "data_offsets": )" +
         offsets + "}}";
}

TEST(Safetensors, ReadsWhatItWrites) {
  const std::string floats(24, 'f');
  const std::string bytes(3, 'b');
  const std::string file = safetensors_bytes({{"x", "F32", {2, 3}, as_bytes(floats)},
                                              {"empty", "F64", {0, 4}, {}},
                                              {"y", "U8", {3}, as_bytes(bytes)}});
  const std::vector<TensorView> tensors = parse(file);
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "x");
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors[0].bytes.size(), 24u);
  EXPECT_EQ(tensors[1].name, "empty");
  EXPECT_EQ(tensors[2].dtype, "U8");
  EXPECT_EQ(std::to_integer<char>(tensors[2].bytes[2]), 'b');
}

TEST(Safetensors, TakesTheWholeFormat) {
  EXPECT_EQ(parse(make_file(entry(), 8)).size(), 1u);
  EXPECT_EQ(parse(make_file(entry() + "   ", 8)).size(), 1u);
  EXPECT_EQ(parse(make_file("{}")).size(), 0u);
  EXPECT_EQ(parse(make_file(R"({"__metadata__": {"format": "pt"}})")).size(), 0u);
  EXPECT_EQ(parse(make_file(entry(R"("F32")", "[]", "[0, 4]"), 4))[0].shape.size(), 0u);
  EXPECT_EQ(parse(make_file(entry(R"("BF16")", "[1, 4]"), 8))[0].dtype, "BF16");
}

TEST(Safetensors, RefusesAHeaderThatIsNotThere) {
  expect_refused("", "fewer than 8 bytes");
  expect_refused("1234567", "fewer than 8 bytes");
  expect_refused(make_file(""), "claims 0 bytes");
  expect_refused(make_file("{}", 0, 3), "claims 3 bytes");
  expect_refused(make_file("{}", 0, UINT64_MAX), "claims 18446744073709551615 bytes");
  expect_refused(make_file("{}", 0, uint64_t{100} << 20), "claims 104857600 bytes");
  const std::string large = "{" + std::string(size_t{1} << 20, ' ') + "}";
  expect_refused(make_file(large), "claims 1048578 bytes");
}

TEST(Safetensors, RefusesAHeaderThatIsNotSuchJson) {
  expect_refused(make_file(" {}"), "does not start with {");
  expect_refused(make_file("[]"), "does not start with {");
  for (const char* header : {"{a}", "{}x", "{\"a\": \xff}", "{\"a\": NaN}", "{\"a\": {\"dtype\""}) {
    expect_refused(make_file(header), "not JSON");
  }
  expect_refused(make_file(R"({"a": 1, "a": 1})"), "'a' is there twice");
  expect_refused(make_file(R"({"a": {"shape": [1], "shape": [1]}})"), "'shape' is there twice");
  expect_refused(make_file("{\"a\": " + std::string(9, '[') + std::string(9, ']') + "}"), "deeper");
}

TEST(Safetensors, RefusesEntriesThatAreNone) {
  expect_refused(make_file(R"({"a": 1})"), "'a' must have dtype, shape");
  expect_refused(make_file(R"({"a": {"dtype": "F32", "shape": [0]}})"), "must have dtype, shape");
  expect_refused(
      make_file(R"({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], "more": 1}})"),
      "nothing else");
  for (const char* dtype : {R"("F8")", R"("f32")", R"("")", "4", "null"}) {
    expect_refused(make_file(entry(dtype), 8), "unknown dtype");
  }
  for (const char* shape : {"2", "[-2]", "[2.0]", "[true]", "[\"2\"]", "[18446744073709551616]",
                            "[18446744073709551615]", "[1, 1, 1, 1, 1, 1, 1, 1, 1, 2]"}) {
    expect_refused(make_file(entry(R"("F32")", shape), 8), "impossible shape");
  }
  for (const char* offsets : {"8", "[8]", "[0, 8, 8]", "[8, 0]", "[0, 9]", "[-8, 0]", "[0, 8.0]",
                              "[9, 9]", "[18446744073709551608, 0]", "[0, 18446744073709551615]"}) {
    expect_refused(make_file(entry(R"("F32")", "[2]", offsets), 8), "impossible offsets");
  }
  expect_refused(make_file(R"({"__metadata__": {"a": 1}})"), "__metadata__");
  expect_refused(make_file(R"({"__metadata__": []})"), "__metadata__");
}

TEST(Safetensors, RefusesShapesThatDoNotFitTheirBytes) {
  for (const char* shape :
       {"[3]", "[1]", "[]", "[2, 0]", "[4294967296, 4294967296]", "[4611686018427387905]",
        "[4611686018427387904, 4, 0]", "[9223372036854775807, 9223372036854775807]"}) {
    expect_refused(make_file(entry(R"("F32")", shape), 8), "another number of bytes");
  }
}

TEST(Safetensors, RefusesHolesOverlapsAndWhatLiesBehind) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": )" + first +
           R"(}, "b": {"dtype": "U8", "shape": [4], "data_offsets": )" + second + "}}";
  };
  EXPECT_EQ(parse(make_file(two("[4, 8]", "[0, 4]"), 8))[0].name, "b");
  expect_refused(make_file(two("[0, 4]", "[5, 9]"), 9), "leave a hole");
  expect_refused(make_file(two("[0, 4]", "[3, 7]"), 7), "overlap");
  expect_refused(make_file(two("[0, 4]", "[0, 4]"), 4), "overlap");
  expect_refused(make_file(two("[1, 5]", "[5, 9]"), 9), "leave a hole");
  expect_refused(make_file(two("[0, 4]", "[4, 8]"), 9), "1 bytes lie behind");
  expect_refused(make_file("{}", 1), "1 bytes lie behind");
}

TEST(Safetensors, CutOffAnywhereItIsRefused) {
  const std::string whole = testing::make_golden();
  for (size_t length = 0; length < whole.size(); length += 7) {
    expect_refused(whole.substr(0, length), "f.safetensors");
  }
}

// Whatever a flipped byte does, reading stays inside the file; the sanitizers watch.
TEST(Safetensors, FlippedBytesNeverReadOutside) {
  const std::string whole = testing::make_golden();
  const size_t header_bytes = whole.size() - 16 * (16 + 24);
  for (size_t i = 0; i < header_bytes; ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    const ExitCode code = testing::exit_code_of([&] {
      for (const TensorView& tensor : parse(damaged)) (void)all_finite(tensor);
    });
    EXPECT_TRUE(code == ExitCode::kDone || code == ExitCode::kBadArtifact) << i;
  }
}

}  // namespace
}  // namespace zoo
