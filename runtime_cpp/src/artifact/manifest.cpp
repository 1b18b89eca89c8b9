#include "artifact/manifest.h"

#include <array>
#include <functional>
#include <numeric>

#include "artifact/schema.h"
#include "base/error.h"
#include "base/json.h"

namespace zoo {

namespace {

constexpr const char* kName = "manifest.json: ";
constexpr std::array kStatusNames = {"proved", "pending", "accepted"};  // in the order of Status

void check(const Json& root, const std::string& folder) {
  if (!root.is_object()) fail_artifact(std::string(kName) + "must be an object");
  if (const auto version = other_version(root)) {
    fail_artifact(folder + ": was built by another zoo (schema " + *version +
                  "): build it again with `zoo recompile " + folder + "`");
  }
  if (const auto fault = first_fault(root, manifest_schema())) fail_artifact(kName + *fault);
  if (const auto fault = broken_rule(root)) fail_artifact(kName + *fault);
}

// From here on every field is there and has its type.

template <typename T>
std::optional<T> optional(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<T>());
}

Status read_status(const std::string& name) {
  size_t index = 0;
  while (kStatusNames.at(index) != name) ++index;
  return static_cast<Status>(index);
}

std::optional<Preprocessing> read_preprocessing(const Json& field) {
  if (field.is_null()) return std::nullopt;
  Preprocessing pixels{.channels = field["channels"],
                       .height = field["height"],
                       .width = field["width"],
                       .mean = field["mean"],
                       .std = field["std"]};
  if (field.contains("resize")) pixels.resize = field["resize"].get<int64_t>();
  pixels.bicubic = field.value("interpolation", "bilinear") == "bicubic";
  return pixels;
}

std::vector<Program> read_programs(const Json& list) {
  std::vector<Program> programs;
  for (const Json& item : list) {
    programs.push_back(
        {item["file"], item["batch"][0], item["batch"][1], optional<std::string>(item["entry"])});
  }
  return programs;
}

Requirements read_requirements(const Json& field) {
  return {optional<std::string>(field["torch"]), field["isa"],
          optional<std::string>(field["gpu_arch"]), field["load_first"]};
}

std::map<std::string, FileEntry> read_files(const Json& field) {
  std::map<std::string, FileEntry> files;
  for (const auto& [name, entry] : field.items()) {
    files.emplace(name, FileEntry{entry["size"], entry["sha256"]});
  }
  return files;
}

OutputProof read_proof(const Json& field) {
  OutputProof proof;
  proof.positions = optional<int64_t>(field["positions"]);
  for (const Json& bound : field["bounds"]) {
    proof.bounds.push_back({bound["e_eager"], bound["floor"]});
  }
  if (const Json& channels = field["channels"]; !channels.is_null()) {
    proof.groups = channels["groups"];
  }
  proof.has_classes = !field["top1"].is_null();
  return proof;
}

Parity read_parity(const Json& field) {
  Parity parity;
  parity.tf32 = field["tf32"];
  parity.k = field["k"];
  for (const Json& sample : field["samples"]) parity.kinds.push_back(sample["kind"]);
  for (const Json& proof : field["outputs"]) parity.outputs.push_back(read_proof(proof));
  for (const Json& gate : field["gates"]) {
    parity.gates.push_back({gate["name"], optional<double>(gate["value"]),
                            optional<double>(gate["bound"]), gate["passed"]});
  }
  return parity;
}

std::vector<Output> read_outputs(const Json& list) {
  std::vector<Output> outputs;
  for (const Json& item : list) {
    outputs.push_back({item["name"], item["shape"], {}});
    const Json classes = item.value("classes", Json());
    if (!classes.is_null()) outputs.back().classes = classes.get<std::vector<std::string>>();
  }
  return outputs;
}

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& folder) {
  const Json root = parse_json(text, "manifest.json");
  check(root, folder);
  const Json& input = root["inputs"][0];
  return {.status = read_status(root["status"]),
          .model = root["model"]["name"],
          .backend = root["backend"],
          .precision = root["precision"],
          .device = root["device"],
          .target = root["target"]["name"],
          .input = {input["name"], input["dtype"] == "uint8", input["shape"]},
          .outputs = read_outputs(root["outputs"]),
          .programs = read_programs(root["programs"]),
          .requirements = read_requirements(root["requirements"]),
          .files = read_files(root["files"]),
          .parity = read_parity(root["parity"]),
          .preprocessing = read_preprocessing(root["model"]["preprocessing"])};
}

const char* status_name(Status status) { return kStatusNames.at(static_cast<size_t>(status)); }

int64_t num_values(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<int64_t> with_rows(int64_t rows, const std::vector<int64_t>& shape) {
  std::vector<int64_t> whole = {rows};
  whole.insert(whole.end(), shape.begin(), shape.end());
  return whole;
}

}  // namespace zoo
