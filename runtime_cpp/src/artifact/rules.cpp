#include "artifact/rules.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "artifact/schema.h"
#include "base/paths.h"

namespace zoo {

namespace {

using Fault = std::optional<std::string>;

constexpr int64_t kMaxValues = int64_t{1} << 28;
constexpr int64_t kMaxGroups = 4096;  // that the channels of an output are put into
const std::string kNotes = "__metadata__";
constexpr size_t kMaxDigits = 6;
constexpr double kBoundTolerance = 1e-6;

std::string at(const std::string& list, size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

// The product of a shape, or more than kMaxValues: it never overflows.
int64_t num_values(const Json& shape) {
  int64_t product = 1;
  for (const Json& extent : shape) {
    product *= extent.get<int64_t>();  // both are at most 2^28 and 2^20
    if (product > kMaxValues) break;
  }
  return product;
}

// What a field must be instead.
const char* wanted_instead(const Json& found) { return found.is_null() ? "an object" : "null"; }

// 2: the layout fits the dtype; no tensor has more than 2^28 values for one sample.
Fault check_tensors(const Json& manifest) {
  const Json& input = manifest["inputs"][0];
  const std::string wanted = input["dtype"] == "uint8" ? "NHWC" : "NCHW";
  if (input["layout"] != wanted) {
    return "inputs[0].layout must be " + wanted + " for " + input["dtype"].get<std::string>();
  }
  for (const char* key : {"inputs", "outputs"}) {
    for (size_t i = 0; i < manifest[key].size(); ++i) {
      if (num_values(manifest[key][i]["shape"]) > kMaxValues) {
        return at(key, i) + ".shape has more than 2^28 values";
      }
    }
  }
  return std::nullopt;
}

// 3: a range of batches is not empty.
Fault check_batches(const Json& manifest) {
  const Json& programs = manifest["programs"];
  for (size_t i = 0; i < programs.size(); ++i) {
    const Json& batch = programs[i]["batch"];
    if (batch[0] > batch[1]) {
      return at("programs", i) + ".batch must be [min, max], it is " + batch.dump();
    }
  }
  return std::nullopt;
}

// 4: what the target needs is required; only a GPU has an architecture.
Fault check_requirements_fields(const Json& manifest) {
  const Json& needs = manifest["requirements"];
  if (needs["isa"] != manifest["target"]["cpuid"])
    return "requirements.isa must equal target.cpuid";
  if (manifest["device"] == "cpu" && !needs["gpu_arch"].is_null()) {
    return "requirements.gpu_arch must be null where device is cpu";
  }
  return std::nullopt;
}

// 5: names are plain and relative, and every file that is used has a hash.
Fault check_files(const Json& manifest) {
  const Json& files = manifest["files"];
  for (const auto& [name, unused] : files.items()) {
    if (const auto why = unsafe_name(name)) {
      return "files holds the name '" + name + "', which " + *why;
    }
  }
  if (!files.contains(kGoldenFile)) return std::string("files lacks '") + kGoldenFile + "'";
  for (const Json& program : manifest["programs"]) {
    const auto name = program["file"].get<std::string>();
    if (!files.contains(name)) return "files lacks the program '" + name + "'";
  }
  if (const Json& graph = manifest["graph"]; !graph.is_null()) {
    const auto name = graph["file"].get<std::string>();
    if (const auto why = unsafe_name(name)) return "graph.file " + *why;
    if (files.contains(name)) return "graph.file must not be among files";
  }
  const Json& libraries = manifest["requirements"]["load_first"];
  for (size_t i = 0; i < libraries.size(); ++i) {
    const auto name = libraries[i].get<std::string>();
    if (const auto why = unsafe_name(name)) return at("requirements.load_first", i) + " " + *why;
    if (name.find('/') != std::string::npos) {
      return at("requirements.load_first", i) + " must be a file name, not a path";
    }
  }
  return std::nullopt;
}

// Of rule 6: how the values of one output are grouped, and how many golden keeps of them.
Fault check_parts(const Json& shape, const Json& proof, const std::string& where) {
  const Json& channels = proof["channels"];
  if (channels.is_null() == (shape.size() > 1)) {
    return where + ".channels must be " + wanted_instead(channels) + " for the shape " +
           shape.dump();
  }
  if (!channels.is_null()) {
    const int64_t groups = std::min(shape[0].get<int64_t>(), kMaxGroups);
    if (channels["groups"] != groups) {
      return where + ".channels.groups must be " + std::to_string(groups) + " for the shape " +
             shape.dump();
    }
  }
  const int64_t values = num_values(shape);
  if (const Json& positions = proof["positions"]; !positions.is_null() && positions >= values) {
    return where + ".positions must be below " + std::to_string(values) +
           ", or null for all values";
  }
  return std::nullopt;
}

// 6: outputs have names of their own, and the proof has an entry for each.
Fault check_outputs_fields(const Json& manifest) {
  const Json& outputs = manifest["outputs"];
  const Json& proofs = manifest["parity"]["outputs"];
  std::set<std::string> names;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!names.insert(outputs[i]["name"]).second) {
      return at("outputs", i) + ".name is that of an earlier output";
    }
    if (outputs[i]["name"] == kNotes) {
      return at("outputs", i) + ".name must not be " + kNotes +
             ", which .safetensors keeps for notes";
    }
  }
  const bool same = std::ranges::equal(
      outputs, proofs, {}, [](const Json& o) { return o["name"]; },
      [](const Json& p) { return p["name"]; });
  if (!same) return "parity.outputs must name the outputs in their order";
  const size_t samples = manifest["parity"]["samples"].size();
  for (size_t i = 0; i < proofs.size(); ++i) {
    if (proofs[i]["bounds"].size() == samples) continue;
    return at("parity.outputs", i) + ".bounds must have " + std::to_string(samples) +
           " entries, one for each sample";
  }
  for (size_t i = 0; i < proofs.size(); ++i) {
    if (Fault fault = check_parts(outputs[i]["shape"], proofs[i], at("parity.outputs", i))) {
      return fault;
    }
  }
  return std::nullopt;
}

// 7: only an output of one dimension has classes, and only of classes one is most likely.
Fault check_classes(const Json& manifest) {
  const Json& outputs = manifest["outputs"];
  const auto samples = static_cast<int64_t>(manifest["parity"]["samples"].size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Json& shape = outputs[i]["shape"];
    const Json classes = outputs[i].value("classes", Json());
    if (!classes.is_null() && Json::array({classes.size()}) != shape) {
      return at("outputs", i) + ".classes has " + std::to_string(classes.size()) +
             " names for the shape " + shape.dump();
    }
    const Json& top1 = manifest["parity"]["outputs"][i]["top1"];
    const std::string where = at("parity.outputs", i) + ".top1";
    if (!top1.is_null() && shape.size() != 1) {
      return where + " must be null for the shape " + shape.dump();
    }
    if (top1.is_null() && !classes.is_null()) {
      return where + " must be an object: the output has classes";
    }
    if (!top1.is_null() && !(top1["agreed"] <= top1["decided"] && top1["decided"] <= samples)) {
      return where + " must keep agreed <= decided <= " + std::to_string(samples);
    }
  }
  return std::nullopt;
}

// 8: each bound is what its parts give.
Fault check_bounds(const Json& manifest) {
  const auto k = manifest["parity"]["k"].get<double>();
  const Json& proofs = manifest["parity"]["outputs"];
  for (size_t i = 0; i < proofs.size(); ++i) {
    const Json& bounds = proofs[i]["bounds"];
    for (size_t row = 0; row < bounds.size(); ++row) {
      const double wanted =
          k * bounds[row]["e_eager"].get<double>() + bounds[row]["floor"].get<double>();
      if (std::abs(bounds[row]["bound"].get<double>() - wanted) > kBoundTolerance * wanted) {
        return at(at("parity.outputs", i) + ".bounds", row) + ".bound must be k * e_eager + floor";
      }
    }
  }
  return std::nullopt;
}

// 9: the status says what the proof found.
Fault check_status(const Json& manifest) {
  const Json& parity = manifest["parity"];
  const bool gates_passed =
      std::ranges::all_of(parity["gates"], [](const Json& gate) { return gate["passed"]; });
  bool passed = gates_passed;
  bool measured = !parity["ran_in"].empty();
  for (const Json& proof : parity["outputs"]) {
    const Json& top1 = proof["top1"];
    if (!top1.is_null() && top1["agreed"] != top1["decided"]) passed = false;
    if (!top1.is_null() && top1["decided"] != 0) measured = true;
    if (const Json& parts = proof["channels"]; !parts.is_null()) {
      if (parts["ratio"].is_null() || parts["ratio"] > 1) passed = false;
      if (!parts["ratio"].is_null()) measured = true;
    }
    for (const Json& entry : proof["bounds"]) {
      const Json& rmse = entry["rmse"];
      if (rmse.is_null() || rmse > entry["bound"]) passed = false;
      if (!rmse.is_null()) measured = true;
    }
  }
  const Json& status = manifest["status"];
  if (status == "proved" && !passed) {
    return "status is 'proved', but parity holds something that failed";
  }
  if (status == "accepted" && passed) return "status is 'accepted', but nothing in parity failed";
  if (status == "pending" && (measured || !gates_passed)) {
    return "status is 'pending', but parity holds what a run measured, or a gate that failed";
  }
  return std::nullopt;
}

// 10: a program's name ends as its backend names files. Other backends are a later zoo's.
Fault check_suffixes(const Json& manifest) {
  const auto backend = manifest["backend"].get<std::string>();
  const OrderedJson suffixes = manifest_schema()["x-suffixes"].value(backend, OrderedJson::array());
  std::string allowed;
  for (const auto& each : suffixes) {
    allowed += (allowed.empty() ? "" : " or ") + each.get<std::string>();
  }
  const Json& programs = manifest["programs"];
  for (size_t i = 0; i < programs.size() && !suffixes.empty(); ++i) {
    const auto file = programs[i]["file"].get<std::string>();
    const bool fits = std::ranges::any_of(suffixes, [&](const auto& each) {
      return file.ends_with(each.template get<std::string>());
    });
    if (!fits) return at("programs", i) + ".file must end in " + allowed + " for " + backend;
  }
  return std::nullopt;
}

constexpr std::array kRules = {check_tensors, check_batches,        check_requirements_fields,
                               check_files,   check_outputs_fields, check_classes,
                               check_bounds,  check_status,         check_suffixes};

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= kMaxDigits &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<std::string> other_version(const Json& manifest) {
  const Json schema = manifest.value("schema", Json());
  if (!schema.is_string()) return std::nullopt;
  const auto version = schema.get<std::string>();
  const size_t point = version.find('.');
  if (point == std::string::npos || !is_number(version.substr(0, point)) ||
      !is_number(version.substr(point + 1))) {
    return std::nullopt;
  }
  if (version.substr(0, point) == std::to_string(kSchemaMajor)) return std::nullopt;
  return version;
}

std::optional<std::string> broken_rule(const Json& manifest) {
  for (const auto rule : kRules) {
    if (Fault fault = rule(manifest)) return fault;
  }
  return std::nullopt;
}

}  // namespace zoo
