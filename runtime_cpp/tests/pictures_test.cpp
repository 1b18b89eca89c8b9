// Picture files, sound ones and ones that were cut off or damaged. tests/support/make_pictures.py
// wrote them; that their pixels are those of Python is tested from Python.
#include <algorithm>
#include <filesystem>

#include "fixtures.h"
#include "image/decode.h"
#include "image/orientation.h"
#include "image/prepare.h"

namespace zoo {
namespace {

using testing::as_bytes;
using testing::read_file;

const Preprocessing kPixels{
    .channels = 3, .height = 8, .width = 8, .mean = {0, 0, 0}, .std = {1, 1, 1}};
const std::string kName = "\x1b[2Jphoto";

std::vector<std::string> files() {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(ZOO_TEST_DATA "/pictures")) {
    found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

UprightPicture decoded(const std::string& bytes, double scale = 1) {
  return decode_upright(as_bytes(bytes), kName, [=](const Size&) { return scale; });
}

// Whether the bytes were taken for a picture. If not, the refusal is one harmless line.
bool is_taken(const std::string& bytes) {
  std::string message;
  const ExitCode code = testing::exit_code_of(
      [&] {
        const Picture picture = prepare_picture(as_bytes(bytes), kName, kPixels);
        EXPECT_EQ(picture.pixels.size(), 8u * 8u * 3u);
      },
      &message);
  if (code == ExitCode::kDone) return true;
  EXPECT_EQ(code, ExitCode::kBadArtifact) << message;
  EXPECT_TRUE(message.starts_with("?[2Jphoto: ")) << message;
  EXPECT_EQ(message, printable(message));
  return false;
}

class Pictures : public ::testing::Test {
 protected:
  void SetUp() override {
    if (picture_formats().empty()) GTEST_SKIP() << "built without pictures";
    ASSERT_EQ(files().size(), 13u);
  }
};

TEST_F(Pictures, AreDecodedUpright) {
  for (const std::string& file : files()) {
    const UprightPicture found = decoded(read_file(file));
    const bool on_side =
        file.ends_with("/turned-6.jpg") || file.ends_with("/xmp.jpg") || file.ends_with("/xmp.png");
    EXPECT_EQ(found.picture.width, on_side ? 13 : 21) << file;
    EXPECT_EQ(found.picture.height, on_side ? 21 : 13) << file;
    EXPECT_EQ(found.size.width, found.picture.width);
  }
}

TEST_F(Pictures, AreDecodedSmallerWhereThatIsEnough) {
  const std::string jpeg = read_file(ZOO_TEST_DATA "/pictures/baseline.jpg");
  const auto width = [&](double scale) { return decoded(jpeg, scale).picture.width; };
  EXPECT_EQ(width(1), 21);
  EXPECT_EQ(width(0.25), 21);  // 21 / 11 is 1 in whole numbers, as Pillow reckons
  EXPECT_EQ(width(0.2), 11);   // twice that is kept
  EXPECT_EQ(width(0.1), 6);
  EXPECT_EQ(width(0.01), 3);
  EXPECT_EQ(decoded(jpeg, 0.2).size.width, 21);
  const std::string png = read_file(ZOO_TEST_DATA "/pictures/2-16.png");
  EXPECT_EQ(decoded(png, 0.01).picture.width, 21);
}

TEST_F(Pictures, CutOffAreRefused) {
  for (const std::string& file : files()) {
    const std::string whole = read_file(file);
    ASSERT_TRUE(is_taken(whole)) << file;
    const size_t end_marker = file.ends_with(".jpg") ? 2 : 1;  // pixels may be whole without it
    for (size_t size = 0; size + end_marker < whole.size(); ++size) {
      EXPECT_FALSE(is_taken(whole.substr(0, size))) << file << " of " << size << " bytes";
    }
  }
}

TEST_F(Pictures, WithAnyByteChangedAreTakenOrRefused) {
  uint32_t state = 1;
  for (const std::string& file : files()) {
    const std::string whole = read_file(file);
    size_t refused = 0;
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string changed = whole;
      state = state * 1'664'525U + 1'013'904'223U;
      changed[at] = static_cast<char>(changed[at] ^ static_cast<char>(state >> 24 | 1));
      if (!is_taken(changed)) ++refused;
    }
    // Each byte of a PNG is under a checksum, or is the name of a chunk.
    if (file.ends_with(".png")) {
      EXPECT_EQ(refused, whole.size()) << file;
    }
    EXPECT_GT(refused, whole.size() / 20) << file;
  }
}

TEST_F(Pictures, WithPartsMovedAreTakenOrRefused) {
  uint32_t state = 7;
  const auto below = [&](size_t limit) {
    state = state * 1'664'525U + 1'013'904'223U;
    return (state >> 8) % limit;
  };
  for (const std::string& file : files()) {
    const std::string whole = read_file(file);
    for (int round = 0; round < 300; ++round) {
      std::string changed = whole;
      const size_t from = below(changed.size());
      const std::string part = changed.substr(from, below(40));
      if (round % 2 == 0) changed.erase(from, part.size());
      changed.insert(below(changed.size() + 1), part);
      (void)is_taken(changed);
    }
  }
}

TEST_F(Pictures, TooLargeAreRefusedBeforeTheyAreDecoded) {
  std::string jpeg = read_file(ZOO_TEST_DATA "/pictures/baseline.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xc3\x50\xc3\x50");
  EXPECT_REFUSED(ExitCode::kBadArtifact, "claims 50000x50000 pixels, at most 178956970 are read",
                 decoded(jpeg));
}

TEST_F(Pictures, OfAnotherFormatAreNamed) {
  for (const auto& [bytes, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "it is empty"},
           {"RIFF1234WEBPVP8 ", "is a WebP picture; zoo-run reads JPEG and PNG"},
           {std::string("II*\0", 4), "is a TIFF picture"},
           {std::string("\0\0\0\x18", 4) + "ftypheic", "is a HEIC picture"},
           {"GIF89a", "or run `zoo predict MODEL"},
           {"hello", "is not a JPEG or PNG picture; convert it"}}) {
    EXPECT_REFUSED(ExitCode::kBadArtifact, part, decoded(bytes));
  }
}

std::string tiff(char order, char type, char values, const std::string& value) {
  const auto number = [&](int high, int low) {
    std::string text = {static_cast<char>(high), static_cast<char>(low)};
    if (order == 'I') std::ranges::reverse(text);
    return text;
  };
  const auto zeros = number(0, 0);
  std::string text =
      order == 'I' ? std::string("II*\0\x08\0\0\0", 8) : std::string("MM\0*\0\0\0\x08", 8);
  text += number(0, 1) + number(1, 0x12) + number(0, type);
  text += order == 'I' ? number(0, values) + zeros : zeros + number(0, values);
  return text + value;
}

TEST(Orientation, IsThatOfExif) {
  const auto found = [](const std::string& text) { return exif_orientation(as_bytes(text)); };
  EXPECT_EQ(found(tiff('I', 3, 1, {"\x06\0\0\0", 4})), 6);
  EXPECT_EQ(found(tiff('M', 3, 1, {"\0\x08\0\0", 4})), 8);
  EXPECT_EQ(found(tiff('M', 4, 1, {"\0\0\0\x02", 4})), 2);
  EXPECT_EQ(
      found(tiff('I', 4, 2, std::string("\x16\0\0\0", 4) + std::string("\x05\0\0\0\x01\0\0\0", 8))),
      5);
  for (const std::string& none :
       {tiff('I', 3, 1, {"\x09\0\0\0", 4}), tiff('I', 3, 1, {"\0\0\0\0", 4}),
        tiff('I', 2, 1, {"\x06\0\0\0", 4}), tiff('I', 3, 0, {"\x06\0\0\0", 4}),
        tiff('I', 4, 2, {"\x16\0\0\0", 4}), tiff('I', 3, 1, {"\x06\0", 2}), std::string("II*"),
        std::string("MM*\0\0\0\0\x08", 8), std::string("II*\0\xff\xff\xff\xff", 8)}) {
    EXPECT_EQ(found(none), std::nullopt);
  }
}

TEST(Orientation, IsThatOfXmpToo) {
  EXPECT_EQ(xmp_orientation("<a tiff:Orientation=\"6\"/>"), 6);
  EXPECT_EQ(xmp_orientation("<tiff:Orientation>3</tiff:Orientation>"), 3);
  EXPECT_EQ(xmp_orientation("tiff:Orientation='6' tiff:Orientation>"), std::nullopt);
  EXPECT_EQ(xmp_orientation("tiff:Orientation=\"9\""), std::nullopt);
}

// 1 2 3   turned as EXIF's picture of an F says
// 4 5 6
TEST(Orientation, IsUndone) {
  const auto turned = [](int orientation) {
    return turned_upright({3, 2, 1, {1, 2, 3, 4, 5, 6}}, orientation).pixels;
  };
  using Pixels = std::vector<uint8_t>;
  EXPECT_EQ(turned(1), (Pixels{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(turned(2), (Pixels{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(turned(3), (Pixels{6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(turned(4), (Pixels{4, 5, 6, 1, 2, 3}));
  EXPECT_EQ(turned(5), (Pixels{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(turned(6), (Pixels{4, 1, 5, 2, 6, 3}));
  EXPECT_EQ(turned(7), (Pixels{6, 3, 5, 2, 4, 1}));
  EXPECT_EQ(turned(8), (Pixels{3, 6, 2, 5, 1, 4}));
}

}  // namespace
}  // namespace zoo
