#include "image/png.h"

#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "image/orientation.h"

namespace zoo {

namespace {

// Everything that libpng and its callbacks use. libpng leaves a failed call by on_error, which must
// not return: it jumps. So the functions that call setjmp hold nothing that has a destructor.
class State {
 public:
  explicit State(std::span<const std::byte> bytes) : left(bytes) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](auto, auto) {});
    info = png == nullptr ? nullptr : png_create_info_struct(png);
  }
  ~State() { png_destroy_read_struct(&png, &info, nullptr); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::byte> left;
  std::jmp_buf jump{};
  std::array<char, 200> message{};

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    State& state = *static_cast<State*>(png_get_error_ptr(png));
    std::snprintf(state.message.data(), state.message.size(), "%s", message);
    std::longjmp(state.jump, 1);
  }
};

void read_bytes(png_structp png, png_bytep to, size_t count) {
  State& state = *static_cast<State*>(png_get_io_ptr(png));
  if (count > state.left.size()) png_error(png, "it ends too early");
  std::memcpy(to, state.left.data(), count);
  state.left = state.left.subspan(count);
}

bool read_header(State& state) {
  if (setjmp(state.jump) != 0) return false;
  png_set_read_fn(state.png, &state, read_bytes);
  png_set_user_limits(state.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_pixels() has the limit
  png_set_crc_action(state.png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_read_info(state.png, state.info);
  return true;
}

bool is_deep_grey(const State& state) {
  return png_get_color_type(state.png, state.info) == PNG_COLOR_TYPE_GRAY &&
         png_get_bit_depth(state.png, state.info) == 16;
}

// To one byte for each channel, and for the index of a colour; deep grey keeps its two.
bool plan_decoding(State& state) {
  if (setjmp(state.jump) != 0) return false;
  png_set_packing(state.png);
  if (png_get_color_type(state.png, state.info) == PNG_COLOR_TYPE_GRAY) {
    png_set_expand_gray_1_2_4_to_8(state.png);
  }
  if (!is_deep_grey(state)) png_set_strip_16(state.png);
  png_set_strip_alpha(state.png);
  png_set_interlace_handling(state.png);
  png_read_update_info(state.png, state.info);
  return true;
}

bool read_rows(State& state, png_bytepp rows) {
  if (setjmp(state.jump) != 0) return false;
  png_read_image(state.png, rows);
  png_read_end(state.png, state.info);  // the orientation may stand behind the pixels
  return true;
}

// 0..65535 to 0..255, rounded, in place.
void make_shallow(Picture& picture) {
  const size_t count = picture.pixels.size() / 2;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t value = picture.pixels[2 * i] * 256U + picture.pixels[2 * i + 1];
    picture.pixels[i] = static_cast<uint8_t>((value + 128) / 257);
  }
  picture.pixels.resize(count);
  picture.channels = 1;
}

Picture coloured(const State& state, const Picture& indices) {
  png_colorp palette = nullptr;
  int count = 0;
  png_get_PLTE(state.png, state.info, &palette, &count);
  Picture picture = make_picture(indices.width, indices.height, 3);
  uint8_t* to = picture.pixels.data();
  for (const uint8_t index : indices.pixels) {
    const png_color colour = index < count ? palette[index] : png_color{};
    *to++ = colour.red;
    *to++ = colour.green;
    *to++ = colour.blue;
  }
  return picture;
}

int find_orientation(const State& state) {
  png_bytep exif = nullptr;
  png_uint_32 bytes = 0;
  if (png_get_eXIf_1(state.png, state.info, &bytes, &exif) != 0) {
    const auto orientation = exif_orientation(std::as_bytes(std::span(exif, bytes)));
    if (orientation) return *orientation;
  }
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(state.png, state.info, &texts, &count);
  for (const png_text& text : std::span(texts, static_cast<size_t>(count))) {
    if (std::string_view(text.key) != "XML:com.adobe.xmp" || text.text == nullptr) continue;
    return xmp_orientation(text.text).value_or(kUpright);
  }
  return kUpright;
}

}  // namespace

PngPicture decode_png(std::span<const std::byte> bytes, const std::string& name) {
  State state(bytes);
  if (state.info == nullptr) throw std::bad_alloc();
  const auto require = [&](bool done) {
    if (!done) fail_picture(name, state.message.data());
  };
  require(read_header(state));
  const int64_t width = png_get_image_width(state.png, state.info);
  const int64_t height = png_get_image_height(state.png, state.info);
  check_pixels(width, height, name);
  const bool deep_grey = is_deep_grey(state);
  require(plan_decoding(state));
  const auto row_bytes = static_cast<int64_t>(png_get_rowbytes(state.png, state.info));
  Picture picture = make_picture(width, height, row_bytes / width);
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < height; ++y) rows.push_back(picture.row(y));
  require(read_rows(state, rows.data()));
  if (deep_grey) make_shallow(picture);
  if (png_get_color_type(state.png, state.info) == PNG_COLOR_TYPE_PALETTE) {
    picture = coloured(state, picture);
  }
  return {std::move(picture), find_orientation(state)};
}

}  // namespace zoo
