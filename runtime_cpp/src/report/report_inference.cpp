#include <algorithm>

#include "artifact/tensor_view.h"
#include "base/text.h"
#include "report/report.h"
#include "report/report_parts.h"

namespace zoo {

namespace {

constexpr size_t kRowsShown = 16;

// What people call a class: its name, or its number where the model has none.
std::string class_name(const Inference& inference, int64_t index) {
  if (inference.classes.empty()) return "class " + std::to_string(index);
  return inference.classes[static_cast<size_t>(index)];
}

OrderedJson rows_json(const Inference& inference) {
  OrderedJson list = OrderedJson::array();
  for (const InferredRow& row : inference.top1) {
    OrderedJson item{{"top1", row.top1}, {"value", row.value}};
    if (!inference.classes.empty()) item["class"] = class_name(inference, row.top1);
    list.push_back(item);
  }
  return list;
}

OrderedJson images_json(const Inference& inference) {
  OrderedJson list = OrderedJson::array();
  for (const Prediction& image : inference.images) {
    OrderedJson classes = OrderedJson::array();
    for (const RankedClass& one : image.best) {
      OrderedJson name;
      if (!inference.classes.empty()) name = class_name(inference, one.index);
      classes.push_back({{"class", name}, {"index", one.index}, {"probability", one.probability}});
    }
    list.push_back({{"image", image.image}, {"classes", classes}});
  }
  return list;
}

OrderedJson run_json(const Inference& inference) {
  const auto file = [](const std::string& path) {
    return path.empty() ? OrderedJson() : OrderedJson(path);
  };
  OrderedJson run = {{"rows", inference.rows}, {"top1", rows_json(inference)}};
  if (!inference.images.empty()) {
    run["images"] = images_json(inference);
    run["saved_input"] = file(inference.saved_input);
  }
  run["outputs"] = OrderedJson::array();
  for (const Output& output : inference.outputs) {
    run["outputs"].push_back({{"name", output.name}, {"shape", output.shape}});
  }
  run["output"] = file(inference.output);
  return run;
}

std::string rows_text(const Inference& inference) {
  const std::vector<InferredRow>& top1 = inference.top1;
  std::string text = top1.empty() ? "" : "row  class       value\n";
  for (size_t i = 0; i < std::min(top1.size(), kRowsShown); ++i) {
    const std::string name = inference.classes.empty() ? "" : class_name(inference, top1[i].top1);
    text += line(format("%3zu  %5lld  %10.4f  ", i, static_cast<long long>(top1[i].top1),
                        static_cast<double>(top1[i].value)) +
                 name);
  }
  return text;
}

// `photo.jpg: tabby (51.2 %; then lynx 30.0 %, tiger 2.5 %)`, as zoo predict says it.
std::string images_text(const Inference& inference) {
  std::string text;
  for (const auto& [image, best] : inference.images) {
    if (best.empty()) continue;  // no output is of classes
    std::string said;
    for (size_t i = 0; i < best.size(); ++i) {
      const std::string name = class_name(inference, best[i].index);
      const std::string percent = format("%.1f %%", 100 * best[i].probability);
      if (i == 0) said = name + " (" + percent;
      if (i > 0) said += (i == 1 ? "; then " : ", ") + name + " " + percent;
    }
    text += printable(image + ": " + said + ")") + "\n";  // in one line, however long
  }
  return text;
}

}  // namespace

Report report_inference(const Subject& subject, const Inference& inference) {
  Report report;
  report.document = frame(subject);
  report.document["run"] = run_json(inference);
  add_footing(report.document, subject);

  report.text = heading(subject) + "\n";
  for (const Output& output : inference.outputs) {
    if (inference.outputs.size() == 1) break;
    const std::vector<int64_t> shape = with_rows(inference.rows, output.shape);
    report.text += line(describe("float32", shape) + "  " + output.name);
  }
  const bool named = !inference.images.empty() && !inference.images.front().best.empty();
  report.text += named ? images_text(inference) : rows_text(inference);
  const size_t shown =
      named ? inference.images.size() : std::min(inference.top1.size(), kRowsShown);
  const auto rows = static_cast<size_t>(inference.rows);
  if (shown < rows) report.text += format("%zu rows in all\n", rows);
  for (const std::string& file : {inference.saved_input, inference.output}) {
    if (!file.empty()) report.text += "wrote " + printable(file) + "\n";
  }
  return report;
}

}  // namespace zoo
