#include "artifact/manifest.h"

#include <array>

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

Parity read_parity(const Json& field) {
  Parity parity;
  parity.tf32 = field["tf32"];
  parity.k = field["k"];
  const Json& proof = field["outputs"][0];
  parity.has_classes = !proof["top1"].is_null();
  for (size_t i = 0; i < field["samples"].size(); ++i) {
    const Json& bound = proof["bounds"][i];
    parity.samples.push_back({field["samples"][i]["kind"], bound["e_eager"], bound["floor"]});
  }
  for (const Json& gate : field["gates"]) {
    parity.gates.push_back({gate["name"], optional<double>(gate["value"]),
                            optional<double>(gate["bound"]), gate["passed"]});
  }
  return parity;
}

Output read_output(const Json& field) {
  Output output{field["name"], field["shape"], {}};
  const Json classes = field.value("classes", Json());
  if (!classes.is_null()) output.classes = classes.get<std::vector<std::string>>();
  return output;
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
          .output = read_output(root["outputs"][0]),
          .programs = read_programs(root["programs"]),
          .requirements = read_requirements(root["requirements"]),
          .files = read_files(root["files"]),
          .parity = read_parity(root["parity"])};
}

const char* status_name(Status status) { return kStatusNames.at(static_cast<size_t>(status)); }

std::vector<int64_t> with_rows(int64_t rows, const std::vector<int64_t>& shape) {
  std::vector<int64_t> whole = {rows};
  whole.insert(whole.end(), shape.begin(), shape.end());
  return whole;
}

}  // namespace zoo
