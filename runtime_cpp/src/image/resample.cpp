#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace zoo {

namespace {

constexpr int kWeightBits = 22;  // 2^22 * 255 and the overshoot of a bicubic sum fit into 32 bits
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

// Keys' cubic convolution with a = -1/2.
double cubic(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

// The samples that one new sample is made of: `weights` of those from `first` on.
struct Window {
  int64_t first = 0;
  std::span<const int32_t> weights = {};
};

// The windows of the new samples start .. start + count - 1, when `from` samples become `to`.
class Windows {
 public:
  Windows(int64_t from, int64_t to, int64_t start, int64_t count, Filter filter) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    const double stretch = std::max(scale, 1.0);  // a smaller picture averages over more samples
    const double reach = (filter == Filter::kBilinear ? 1.0 : 2.0) * stretch;
    std::vector<double> weights;
    for (int64_t i = 0; i < count; ++i) {
      const double centre = (static_cast<double>(start + i) + 0.5) * scale;
      const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(centre - reach + 0.5));
      const int64_t end = std::min(from, static_cast<int64_t>(centre + reach + 0.5));
      weights.clear();
      double sum = 0;
      for (int64_t at = first; at < end; ++at) {
        const double distance = (static_cast<double>(at) - centre + 0.5) / stretch;
        weights.push_back(filter == Filter::kBilinear ? triangle(distance) : cubic(distance));
        sum += weights.back();
      }
      places_.push_back({first, weights_.size(), weights.size()});
      for (const double weight : weights) {
        weights_.push_back(static_cast<int32_t>(std::lround(weight / sum * (1 << kWeightBits))));
      }
    }
  }

  [[nodiscard]] Window operator[](int64_t i) const {
    const Place& place = places_[static_cast<size_t>(i)];
    return {place.first, std::span(weights_).subspan(place.offset, place.size)};
  }
  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(places_.size()); }
  // All samples that some window uses.
  [[nodiscard]] int64_t begin() const { return places_.front().first; }
  [[nodiscard]] int64_t end() const {
    return places_.back().first + static_cast<int64_t>(places_.back().size);
  }

 private:
  struct Place {
    int64_t first = 0;
    size_t offset = 0;
    size_t size = 0;
  };
  std::vector<Place> places_;
  std::vector<int32_t> weights_;
};

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp((sum + kHalf) >> kWeightBits, 0, 255));
}

template <int Channels>
void filter_row(const uint8_t* row, const Windows& windows, uint8_t* to) {
  for (int64_t x = 0; x < windows.count(); ++x) {
    const auto [first, weights] = windows[x];
    const uint8_t* from = row + first * Channels;
    int32_t sums[Channels] = {};
    for (const int32_t weight : weights) {
      for (int c = 0; c < Channels; ++c) sums[c] += weight * from[c];
      from += Channels;
    }
    for (const int32_t sum : sums) *to++ = rounded(sum);
  }
}

// The rows first .. end - 1 of the picture, filtered.
Picture filter_rows(const Picture& picture, int64_t first, int64_t end, const Windows& windows) {
  Picture filtered = make_picture(windows.count(), end - first, picture.channels);
  const auto filter = picture.channels == 1 ? filter_row<1> : filter_row<3>;
  for (int64_t y = first; y < end; ++y) filter(picture.row(y), windows, filtered.row(y - first));
  return filtered;
}

// `picture` lacks the rows above the first that a window uses.
Picture filter_columns(const Picture& picture, const Windows& windows) {
  Picture filtered = make_picture(picture.width, windows.count(), picture.channels);
  std::vector<int32_t> sums(static_cast<size_t>(picture.width * picture.channels));
  for (int64_t y = 0; y < windows.count(); ++y) {
    const auto [first, weights] = windows[y];
    std::ranges::fill(sums, 0);
    const uint8_t* from = picture.row(first - windows.begin());
    for (const int32_t weight : weights) {
      for (int32_t& sum : sums) sum += weight * *from++;
    }
    std::ranges::transform(sums, filtered.row(y), rounded);
  }
  return filtered;
}

}  // namespace

Picture resample(const Picture& picture, const Size& whole, const Box& box, Filter filter) {
  const Windows across(picture.width, whole.width, box.left, box.width, filter);
  const Windows down(picture.height, whole.height, box.top, box.height, filter);
  return filter_columns(filter_rows(picture, down.begin(), down.end(), across), down);
}

}  // namespace zoo
