#include "artifact/manifest.h"

#include <algorithm>
#include <charconv>

#include "artifact/fields.h"
#include "artifact/sha256.h"
#include "base/error.h"
#include "base/json.h"
#include "base/paths.h"

namespace zoo {

namespace {

constexpr int64_t kAnyInteger = INT64_MAX;
constexpr int64_t kMaxExtent = int64_t{1} << 20;

void require_schema(const Field& root) {
  const std::string schema = root["schema"].string();
  unsigned major = 0;
  unsigned minor = 0;
  const char* end = schema.data() + schema.size();
  const auto parsed = std::from_chars(schema.data(), end, major);
  const bool well_formed = parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '.';
  const auto rest = well_formed ? std::from_chars(parsed.ptr + 1, end, minor) : parsed;
  if (!well_formed || rest.ec != std::errc() || rest.ptr != end) {
    root["schema"].fail("must be MAJOR.MINOR, it is '" + printable(schema) + "'");
  }
  if (major != kSchemaMajor) {
    root["schema"].fail("is " + schema + ", this zoo-run reads " + std::to_string(kSchemaMajor) +
                        ".x: rebuild the artifact");
  }
}

std::string require_sha256(const Field& field) {
  std::string hex = field.string();
  if (!is_sha256_hex(hex)) field.fail("must be 64 lowercase hex digits");
  return hex;
}

void require_one_of(const Field& field, const std::vector<std::string>& allowed) {
  const std::string value = field.string();
  if (std::ranges::find(allowed, value) != allowed.end()) return;
  std::string list;
  for (const std::string& name : allowed) list += (list.empty() ? "" : " or ") + name;
  field.fail("must be " + list + ", it is '" + printable(value) + "'");
}

void check_preprocessing(const Field& field) {
  for (const char* key : {"channels", "height", "width"}) {
    (void)field[key].integer(1, kMaxExtent);
  }
  for (const char* key : {"mean", "std"}) {
    for (const Field& value : field[key].list()) (void)value.number();
  }
}

void read_model(const Field& model, Manifest& manifest) {
  manifest.model = model["name"].string();
  (void)model["parameters"].integer(0, kAnyInteger);
  if (!model["macs"].is_null()) (void)model["macs"].integer(0, kAnyInteger);
  manifest.weights_sha256 = require_sha256(model["weights_sha256"]);
  (void)model["source"].string();
  if (!model["classes"].is_null()) manifest.classes = model["classes"].strings();
  if (!model["preprocessing"].is_null()) check_preprocessing(model["preprocessing"]);
}

Field only_item(const Field& field) {
  const std::vector<Field> items = field.list();
  if (items.size() != 1) field.fail("must hold exactly one entry");
  return items.front();
}

void read_input(const Field& input, Manifest& manifest) {
  (void)input["name"].string();
  require_one_of(input["dtype"], {"float32", "uint8"});
  manifest.byte_input = input["dtype"].string() == "uint8";
  require_one_of(input["layout"], {manifest.byte_input ? "NHWC" : "NCHW"});
  const std::vector<Field> shape = input["shape"].list();
  if (shape.size() != 3) {
    input["shape"].fail(manifest.byte_input ? "must be [H, W, C]" : "must be [C, H, W]");
  }
  for (const Field& extent : shape) manifest.sample_shape.push_back(extent.integer(1, kMaxExtent));
  // Sample sizes are multiplied later on; a gigabyte each is beyond any network here.
  const std::vector<int64_t>& sizes = manifest.sample_shape;
  if (sizes[0] * sizes[1] > kMaxExtent * 256 / sizes[2]) {
    input["shape"].fail("is larger than 2^28 values");
  }
}

void read_signature(const Field& root, Manifest& manifest) {
  read_input(only_item(root["inputs"]), manifest);
  const Field output = only_item(root["outputs"]);
  (void)output["name"].string();
  require_one_of(output["dtype"], {"float32"});
  const Field classes = only_item(output["shape"]);
  manifest.num_classes = classes.integer(1, kMaxExtent);
  if (!manifest.classes.empty() &&
      manifest.classes.size() != static_cast<size_t>(manifest.num_classes)) {
    root["model"]["classes"].fail("has " + std::to_string(manifest.classes.size()) + " names for " +
                                  std::to_string(manifest.num_classes) + " classes");
  }
}

void read_programs(const Field& programs, Manifest& manifest) {
  for (const Field& item : programs.list()) {
    const std::vector<Field> batch = item["batch"].list();
    if (batch.size() != 2) item["batch"].fail("must be [min, max]");
    Program program;
    program.file = item["file"].string();
    program.min_batch = batch[0].integer(1, kMaxExtent);
    program.max_batch = batch[1].integer(program.min_batch, kMaxExtent);
    program.entry = item["entry"].string_or_null();
    manifest.programs.push_back(program);
  }
  if (manifest.programs.empty()) programs.fail("must hold at least one program");
}

void read_requirements(const Field& root, Manifest& manifest) {
  const Field field = root["requirements"];
  Requirements& requirements = manifest.requirements;
  requirements.torch = field["torch"].string_or_null();
  requirements.isa = field["isa"].strings();
  requirements.gpu_arch = field["gpu_arch"].string_or_null();
  (void)field["cuda"].string_or_null();
  (void)field["tensorrt"].string_or_null();
  requirements.load_first = field["load_first"].strings();
  for (const Field& library : field["load_first"].list()) {
    const std::string name = library.string();
    if (const auto why = unsafe_name(name)) library.fail(*why);
    if (name.find('/') != std::string::npos) library.fail("must be a file name, not a path");
  }
  manifest.target = root["target"]["name"].string();
  if (root["target"]["cpuid"].strings() != requirements.isa) {
    field["isa"].fail("must equal target.cpuid");
  }
  if (manifest.device == "cpu" && requirements.gpu_arch) {
    field["gpu_arch"].fail("must be null for a cpu artifact");
  }
}

void read_files(const Field& files, Manifest& manifest) {
  for (const auto& [name, entry] : files.object()) {
    if (const auto why = unsafe_name(name)) {
      files.fail("holds the name '" + printable(name) + "', which " + *why);
    }
    FileEntry file;
    file.size = static_cast<uint64_t>(entry["size"].integer(0, kAnyInteger));
    file.sha256 = require_sha256(entry["sha256"]);
    manifest.files.emplace(name, file);
  }
  for (const Program& program : manifest.programs) {
    if (!manifest.files.contains(program.file)) {
      files.fail("lacks the program '" + printable(program.file) + "'");
    }
  }
  if (!manifest.files.contains(kGoldenFile)) files.fail("lacks golden.pt");
}

double non_negative(const Field& field) {
  const double number = field.number();
  if (number < 0) field.fail("must not be negative");
  return number;
}

void read_parity(const Field& field, Manifest& manifest) {
  require_one_of(field["oracle"], {"float64"});
  Parity& parity = manifest.parity;
  parity.tf32 = field["tf32"].boolean();
  parity.k = non_negative(field["k"]);
  for (const Field& item : field["samples"].list()) {
    GoldenSample sample;
    sample.kind = item["kind"].string();
    sample.e_eager = non_negative(item["e_eager"]);
    sample.floor = non_negative(item["floor"]);
    (void)non_negative(item["bound"]);  // zoo-run computes it anew
    sample.rmse = item["rmse"].number_or_null();
    parity.samples.push_back(sample);
  }
  const auto rows = static_cast<int64_t>(parity.samples.size());
  if (rows < kOrdinaryRows || rows > kMaxGoldenRows) {
    field["samples"].fail("must hold " + std::to_string(kOrdinaryRows) + " to " +
                          std::to_string(kMaxGoldenRows) + " entries, it holds " +
                          std::to_string(rows));
  }
  (void)field["top1"]["decided"].integer(0, rows);
  (void)field["top1"]["agreed"].integer(0, rows);
  (void)field["max_abs"].number_or_null();
  (void)field["sqnr_db"].number_or_null();
  for (const Field& item : field["gates"].list()) {
    parity.gates.push_back({item["name"].string(), item["value"].number_or_null(),
                            item["bound"].number_or_null(), item["passed"].boolean()});
  }
  (void)field["ran_in"].strings();
  if (!field.has("skipped_samples")) return;  // it came with schema 1.2
  for (const Field& item : field["skipped_samples"].list()) {
    (void)item["kind"].string();
    (void)item["reason"].string();
  }
}

// Fields that zoo-run does not use are held to their types all the same: an artifact that breaks
// the contract anywhere was not written by a tool that keeps it.
void check_the_rest(const Field& root) {
  if (const Field field = root["determinism"]; !field.is_null()) {
    for (const char* key : {"calls", "loads", "threads"}) (void)field[key].integer(0, kAnyInteger);
    (void)field["bit_identical"].boolean();
    if (field.has("runners")) (void)field["runners"].integer(0, kAnyInteger);
    if (field.has("runners_identical") && !field["runners_identical"].is_null()) {
      (void)field["runners_identical"].boolean();
    }
  }
  if (const Field field = root["nonfinite"]; !field.is_null()) {
    (void)field["nan"].string();
    (void)field["inf"].string();
  }
  if (const Field field = root["evidence"]; !field.is_null()) (void)field.object();
  const Field build = root["build"];
  for (const char* key : {"command", "commit", "host", "date"}) (void)build[key].string();
  (void)build["seconds"].number();
  (void)build["versions"].object();
  (void)build["request"].object();
}

}  // namespace

Manifest parse_manifest(std::string_view text) {
  const Json json = parse_json(text, "manifest.json");
  if (!json.is_object()) fail_artifact("manifest.json: must be an object");
  const Field root(json, "");
  require_schema(root);
  Manifest manifest;
  read_model(root["model"], manifest);
  manifest.backend = root["backend"].string();
  require_one_of(root["precision"], {"fp32", "tf32", "bf16", "fp16", "int8", "fp8"});
  manifest.precision = root["precision"].string();
  require_one_of(root["device"], {"cpu", "cuda"});
  manifest.device = root["device"].string();
  read_signature(root, manifest);
  read_programs(root["programs"], manifest);
  read_requirements(root, manifest);
  read_files(root["files"], manifest);
  read_parity(root["parity"], manifest);
  check_the_rest(root);
  return manifest;
}

}  // namespace zoo
