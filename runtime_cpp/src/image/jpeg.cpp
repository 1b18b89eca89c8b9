#include "image/jpeg.h"

// jpeglib.h does not include what it needs.
#include <cstdio>
// clang-format off
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <string_view>
#include <utility>

#include "image/orientation.h"

namespace zoo {

// Everything that libjpeg and its callbacks use. libjpeg leaves a failed call by longjmp, so the
// functions that call setjmp hold nothing that has a destructor, and neither do the callbacks.
struct JpegReader::State {
  State() = default;
  ~State() { jpeg_destroy_decompress(&info); }  // also where the header cannot be read
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump{};
  std::array<char, JMSG_LENGTH_MAX> message{};
};

namespace {

constexpr int kMaxScans = 500;  // each scan of a progressive file goes over the whole picture

// What libjpeg only warns of, and then makes up what is missing.
constexpr std::array kDamages = {JWRN_ARITH_BAD_CODE, JWRN_BOGUS_PROGRESSION, JWRN_HIT_MARKER,
                                 JWRN_HUFF_BAD_CODE,  JWRN_JPEG_EOF,          JWRN_MUST_RESYNC,
                                 JWRN_NOT_SEQUENTIAL};

template <typename State>
[[noreturn]] void leave(State& state, const char* message) {
  std::snprintf(state.message.data(), state.message.size(), "%s", message);
  std::longjmp(state.jump, 1);
}

template <typename State>
void install(State& state, std::span<const std::byte> bytes) {
  static constexpr auto get = [](auto info) -> State& {
    return *static_cast<State*>(info->client_data);
  };
  jpeg_decompress_struct& info = state.info;
  info.client_data = &state;
  info.err = jpeg_std_error(&state.errors);
  state.errors.error_exit = [](j_common_ptr common) {
    (*common->err->format_message)(common, get(common).message.data());
    std::longjmp(get(common).jump, 1);
  };
  state.errors.emit_message = [](j_common_ptr common, int level) {
    const auto code = static_cast<J_MESSAGE_CODE>(common->err->msg_code);
    if (level < 0 && std::ranges::find(kDamages, code) != kDamages.end()) {
      (*common->err->error_exit)(common);
    }
  };
  state.errors.output_message = [](j_common_ptr) {};
  state.progress.progress_monitor = [](j_common_ptr common) {
    if (get(common).info.input_scan_number > kMaxScans) leave(get(common), "it has too many scans");
  };
  state.source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  state.source.bytes_in_buffer = bytes.size();
  state.source.init_source = [](j_decompress_ptr) {};
  state.source.term_source = [](j_decompress_ptr) {};
  state.source.resync_to_restart = jpeg_resync_to_restart;
  // All bytes are there from the start.
  state.source.fill_input_buffer = [](j_decompress_ptr reader) -> boolean {
    leave(get(reader), "it ends too early");
  };
  state.source.skip_input_data = [](j_decompress_ptr reader, long count) {
    if (count <= 0) return;
    jpeg_source_mgr& source = *reader->src;
    const auto bytes_to_skip = static_cast<size_t>(count);
    if (bytes_to_skip > source.bytes_in_buffer) leave(get(reader), "it ends too early");
    source.next_input_byte += bytes_to_skip;
    source.bytes_in_buffer -= bytes_to_skip;
  };
}

template <typename State>
bool read_header(State& state) {
  if (setjmp(state.jump) != 0) return false;
  jpeg_decompress_struct& info = state.info;
  jpeg_create_decompress(&info);  // keeps err and client_data alone
  info.src = &state.source;
  info.progress = &state.progress;
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&info, TRUE);
  return true;
}

template <typename State>
bool plan_decoding(State& state, int reduction) {
  if (setjmp(state.jump) != 0) return false;
  jpeg_decompress_struct& info = state.info;
  if (info.num_components == 1) info.out_color_space = JCS_GRAYSCALE;
  if (info.num_components == 3) info.out_color_space = JCS_RGB;
  if (info.num_components == 4) info.out_color_space = JCS_CMYK;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(reduction);
  jpeg_start_decompress(&info);
  return true;
}

template <typename State>
bool read_rows(State& state, uint8_t* pixels) {
  if (setjmp(state.jump) != 0) return false;
  jpeg_decompress_struct& info = state.info;
  const size_t row_bytes = size_t{info.output_width} * static_cast<size_t>(info.output_components);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels + info.output_scanline * row_bytes;
    jpeg_read_scanlines(&info, &row, 1);
  }
  return true;
}

uint32_t times_share(uint32_t value, uint32_t share) {  // value * share / 255, rounded
  const uint32_t product = value * share + 128;
  return ((product >> 8) + product) >> 8;
}

// As Adobe stores CMYK: 255 is no ink.
Picture without_ink(const Picture& inks) {
  Picture rgb = make_picture(inks.width, inks.height, 3);
  const uint8_t* from = inks.pixels.data();
  for (size_t i = 0; i < rgb.pixels.size(); i += 3, from += 4) {
    const uint32_t light = from[3];
    for (size_t c = 0; c < 3; ++c) {
      rgb.pixels[i + c] = static_cast<uint8_t>(light - times_share(255U - from[c], light));
    }
  }
  return rgb;
}

}  // namespace

JpegReader::JpegReader(std::span<const std::byte> bytes, std::string name)
    : name_(std::move(name)), state_(std::make_unique<State>()) {
  install(*state_, bytes);
  if (!read_header(*state_)) fail();
  const int channels = state_->info.num_components;
  if (channels != 1 && channels != 3 && channels != 4) {
    fail_picture(name_, "it has " + std::to_string(channels) + " channels");
  }
}

JpegReader::~JpegReader() = default;

void JpegReader::fail() const { fail_picture(name_, state_->message.data()); }

int64_t JpegReader::width() const { return state_->info.image_width; }
int64_t JpegReader::height() const { return state_->info.image_height; }

int JpegReader::orientation() const {
  constexpr std::string_view kExif("Exif\0\0", 6);
  constexpr std::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  std::string exif;  // may be continued in a second marker
  std::optional<int> of_xmp;
  for (auto marker = state_->info.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with(kExif)) exif += data.substr(kExif.size());
    if (data.starts_with(kXmp)) of_xmp = xmp_orientation(data.substr(kXmp.size()));
  }
  const auto of_exif = exif_orientation(std::as_bytes(std::span(exif)));
  return of_exif.value_or(of_xmp.value_or(kUpright));
}

Picture JpegReader::decode(int reduction) {
  if (!plan_decoding(*state_, reduction)) fail();
  const jpeg_decompress_struct& info = state_->info;
  Picture picture = make_picture(info.output_width, info.output_height, info.output_components);
  if (!read_rows(*state_, picture.pixels.data())) fail();
  return picture.channels == 4 ? without_ink(picture) : picture;
}

}  // namespace zoo
