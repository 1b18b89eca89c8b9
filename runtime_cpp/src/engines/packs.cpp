#include "engines/packs.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>

#include "base/json.h"

namespace zoo {

namespace {

// As compile/backends/packing.py writes them.
constexpr const char* kNote = "zoo.convolutions";
constexpr const char* kThreads = "zoo.threads";

// What AOTInductor calls a constant that it computes when it loads a program.
constexpr std::string_view kFolded = "_FOLDED_CONST_";

at::Tensor pack_convolution(const at::Tensor& weight, at::IntArrayRef padding,
                            at::IntArrayRef stride, at::IntArrayRef dilation, int64_t groups,
                            at::OptionalIntArrayRef input) {
  static const auto pack = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "")
                               .typed<decltype(pack_convolution)>();
  return pack.call(weight, padding, stride, dilation, groups, input);
}

}  // namespace

Packs::Packs(torch::inductor::AOTIModelPackageLoader& loader)
    : loader_(loader),
      metadata_(loader.get_metadata()),
      plain_(loader.get_runner()->extract_constants_map(false)) {
  if (const auto note = metadata_.find(kNote); note != metadata_.end()) {
    open_ = read_notes(note->second);
  }
  for (const auto& [name, original] : loader.get_runner()->getConstantNamesToOriginalFQNs()) {
    folds_ = folds_ || name.starts_with(kFolded);
  }
  if (folds_) loader_.get_runner()->run_const_fold(/*use_inactive=*/false);
}

std::vector<Packs::Convolution> Packs::read_notes(const std::string& text) {
  std::vector<Convolution> notes;
  for (const Json& note : Json::parse(text)) {
    const auto numbers = [&](const char* key) { return note.at(key).get<std::vector<int64_t>>(); };
    notes.push_back({.weight = note.at("weight").get<std::string>(),
                     .padding = numbers("padding"),
                     .stride = numbers("stride"),
                     .dilation = numbers("dilation"),
                     .sample = numbers("sample"),
                     .groups = note.at("groups").get<int64_t>()});
  }
  return notes;
}

void Packs::fit(int64_t batch) {
  if (open_.empty() || batch == batch_) return;
  Tensors packed;
  for (const Convolution& each : open_) {
    std::vector<int64_t> input = each.sample;
    input.insert(input.begin(), batch);
    packed[each.weight] = pack_convolution(plain_.at(each.weight), each.padding, each.stride,
                                           each.dilation, each.groups, input);
  }
  loader_.load_constants(packed, /*use_inactive=*/false, /*check_full_update=*/false,
                         /*user_managed=*/true);
  if (folds_) loader_.get_runner()->run_const_fold(/*use_inactive=*/false);
  packed_ = std::move(packed);
  batch_ = batch;
}

std::vector<std::vector<int64_t>> Packs::shapes() const {
  std::vector<std::vector<int64_t>> shapes;
  for (const auto& [name, tensor] : plain_) shapes.push_back(tensor.sizes().vec());
  return shapes;
}

std::string Packs::why_not(int threads) const {
  if (folds_ || !open_.empty()) return "the file cannot pack it";
  const auto built = metadata_.find(kThreads);
  if (built == metadata_.end()) return "built for other threads, CPU or batch";
  if (built->second == std::to_string(threads)) return "built for another CPU or batch";
  return "built for " + built->second + (built->second == "1" ? " thread" : " threads");
}

}  // namespace zoo
