#include "fixtures.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "artifact/manifest.h"
#include "artifact/safetensors.h"
#include "artifact/sha256.h"

namespace zoo::testing {

namespace {

void put(std::string& out, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i, value >>= 8) out += static_cast<char>(value & 0xff);
}

// The part that both headers share: flags, method, time, date, crc, sizes, lengths.
void put_header(std::string& out, const ZipSpec& member, size_t name_bytes) {
  put(out, member.flags, 2);
  put(out, member.method, 2);
  put(out, 0, 8);
  put(out, member.data.size(), 4);
  put(out, member.claimed_bytes.value_or(static_cast<uint32_t>(member.data.size())), 4);
  put(out, name_bytes, 2);
  put(out, 0, 2);
}

}  // namespace

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "zoo-test-XXXXXX").string();
  path_ = ::mkdtemp(name.data());
}

TempFolder::~TempFolder() { std::filesystem::remove_all(path_); }

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string make_zip(const std::vector<ZipSpec>& members) {
  std::string out;
  std::string directory;
  for (const ZipSpec& member : members) {
    const std::string local_name = member.local_name.value_or(member.name);
    put(directory, 0x02014b50, 4);
    put(directory, 20, 2);
    put(directory, 20, 2);
    put_header(directory, member, member.name.size());
    put(directory, 0, 10);
    put(directory, out.size(), 4);
    directory += member.name;
    put(out, 0x04034b50, 4);
    put(out, 20, 2);
    put_header(out, member, local_name.size());
    out += local_name + member.data;
  }
  const size_t start = out.size();
  out += directory;
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, members.size(), 2);
  put(out, members.size(), 2);
  put(out, directory.size(), 4);
  put(out, start, 4);
  put(out, 0, 2);
  return out;
}

Json make_manifest() {
  Json manifest = Json::parse(R"({
    "schema": "2.0", "status": "proved",
    "model": {"name": "tiny", "parameters": 12, "macs": null, "source": "fresh:seed=0",
              "preprocessing": {"channels": 1, "height": 2, "width": 2, "mean": [0], "std": [1]}},
    "backend": "torchscript", "precision": "fp32", "device": "cpu",
    "target": {"name": "any", "cpuid": []},
    "inputs": [{"name": "x", "dtype": "float32", "layout": "NCHW", "shape": [1, 2, 2]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [3], "classes": ["a", "b", "c"]}],
    "programs": [{"file": "model.ts", "batch": [1, 64], "entry": null}],
    "requirements": {"torch": null, "isa": [], "gpu_arch": null, "cuda": null,
                     "tensorrt": null, "load_first": []},
    "quantization": null, "files": {}, "graph": null,
    "parity": {"oracle": "float64", "reference": "module", "tf32": false, "k": 2.0,
               "samples": [], "skipped_samples": [],
               "outputs": [{"name": "y", "positions": null, "bounds": [], "channels": null,
                            "top1": {"decided": 16, "agreed": 16}, "max_abs": 1e-7,
                            "sqnr_db": 130.5}],
               "gates": [{"name": "a gate", "value": 0.5, "bound": 1.0, "passed": true}],
               "skipped_gates": [], "ran_in": ["python"]},
    "determinism": {"calls": 2, "loads": 2, "threads": 2, "bit_identical": true, "runners": 0,
                    "runners_identical": null},
    "nonfinite": {"nan": "propagates", "inf": "propagates"},
    "evidence": null,
    "build": {"command": "zoo compile", "seconds": 1.5, "commit": "abc", "host": "h",
              "date": "2026-01-01", "versions": {}, "request": {}}
  })");
  manifest["model"]["weights_sha256"] = std::string(64, '0');
  for (int i = 0; i < kOrdinaryRows; ++i) {
    add_sample(manifest, i < 8 ? "synthetic" : "normal", 1e-7, 1e-6);
  }
  const Json entry = {{"size", 0}, {"sha256", std::string(64, '0')}};
  manifest["files"] = {{"model.ts", entry}, {kGoldenFile, entry}};
  return manifest;
}

void add_sample(Json& manifest, const std::string& kind, double e_eager, double floor) {
  Json& parity = manifest["parity"];
  parity["samples"].push_back({{"kind", kind}});
  for (Json& proof : parity["outputs"]) {
    proof["bounds"].push_back({{"e_eager", e_eager},
                               {"floor", floor},
                               {"bound", parity["k"].get<double>() * e_eager + floor},
                               {"rmse", 0.0}});
  }
}

void add_output(Json& manifest, const std::string& name, const std::vector<int64_t>& shape) {
  manifest["outputs"].push_back({{"name", name}, {"dtype", "float32"}, {"shape", shape}});
  Json& proofs = manifest["parity"]["outputs"];
  Json proof = proofs[0];
  proof["name"] = name;
  proof["top1"] = nullptr;
  if (shape.size() > 1) {
    const int64_t groups = std::min<int64_t>(shape[0], 4096);
    proof["channels"] = {{"groups", groups}, {"ratio", 0.5}, {"worst", "normal, channel 0"}};
  }
  proofs.push_back(proof);
}

void set_status(Json& manifest, const std::string& status) {
  manifest["status"] = status;
  Json& parity = manifest["parity"];
  if (status == "accepted") parity["gates"][0]["passed"] = false;
  if (status != "pending") return;
  parity["ran_in"] = Json::array();
  for (Json& proof : parity["outputs"]) {
    for (Json& bound : proof["bounds"]) bound["rmse"] = nullptr;
    if (!proof["top1"].is_null()) proof["top1"] = {{"decided", 0}, {"agreed", 0}};
    if (!proof["channels"].is_null()) proof["channels"]["ratio"] = nullptr;
  }
}

std::string make_golden(size_t rows) {
  const std::string input(rows * 4 * sizeof(float), '\0');
  const std::string oracle(rows * 3 * sizeof(double), '\0');
  const auto count = static_cast<int64_t>(rows);
  return safetensors_bytes({{"inputs/x", "F32", {count, 1, 2, 2}, as_bytes(input)},
                            {"oracle/y", "F64", {count, 3}, as_bytes(oracle)}});
}

void write_manifest(const std::string& folder, const std::string& text) {
  write_file(folder + "/manifest.json", text);
  write_file(folder + "/manifest.sha256", sha256_hex(as_bytes(text)) + "\n");
}

void write_artifact(const std::string& folder, Json manifest,
                    const std::map<std::string, std::string>& files) {
  manifest["files"] = Json::object();
  for (const auto& [name, bytes] : files) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::filesystem::create_directories(path.parent_path());
    write_file(path.string(), bytes);
    manifest["files"][name] = {{"size", bytes.size()}, {"sha256", sha256_hex(as_bytes(bytes))}};
  }
  write_manifest(folder, manifest.dump());
}

}  // namespace zoo::testing
