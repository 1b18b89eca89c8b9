#pragma once

#include <ATen/core/Tensor.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "fixtures.h"

namespace zoo::testing {

struct Outcome {
  int exit_code = 0;  // minus the signal, where one killed it
  std::string out;
  std::string err;
};

// Starts zoo-run with these as stdout, stderr and TMPDIR, and an empty PATH: it needs no Python.
[[nodiscard]] pid_t start_zoo(const std::vector<std::string>& arguments, int out, int err,
                              const std::string& temporary);

// Runs the zoo-run that was built beside the tests.
[[nodiscard]] Outcome run_zoo(const std::vector<std::string>& arguments);

// The same, but sends `signal_number` once the program has made its temporary folder and a moment
// has passed.
[[nodiscard]] Outcome signal_zoo(const std::vector<std::string>& arguments, int signal_number);

// One line on stderr, nothing on stdout, this exit code, and `part` in the line.
void expect_refusal(const std::vector<std::string>& arguments, int exit_code,
                    const std::string& part);

// One output more of a network, and what it ought to be.
struct TinyOutput {
  std::string name;
  std::vector<int64_t> shape;
  std::function<at::Tensor(const at::Tensor&)> of;  // of the first output, (N, 3) float64
  std::vector<int64_t> positions = {};              // that golden keeps; none: all
};

// A TorchScript network, (N, 1, 2, 2) -> (N, 3), whose body may be given; its golden rows; and a
// manifest that is true of both.
struct TinyNetwork {
  std::string body = "return torch.flatten(x, 1).matmul(self.w)";
  std::vector<std::string> load_first = {};
  float weight_error = 0;   // added to one weight of the program, not of the oracle
  double oracle_error = 0;  // added to one value of the oracle, in wrong_row
  int64_t wrong_row = 5;
  int64_t hostile_rows = 0;  // after the ordinary ones; the first is zeros
  bool byte_input = false;   // (N, 2, 2, 1) uint8; the body scales it
  at::Tensor bound = {};     // weights in an object of the test library's class, self.engine
  int64_t min_batch = 1;
  int64_t max_batch = 64;
  std::string status = "proved";
  std::vector<TinyOutput> more = {};  // outputs behind the first, "y"; the body returns a tuple
  bool only_more = false;             // these alone
};
void write_network(const std::string& folder, const TinyNetwork& network = {});

// A .npy or .safetensors file, by the path's suffix, of float32, float64 or uint8.
void write_tensor(const std::string& path, const at::Tensor& tensor);
// The same of a float32 tensor filled with 0, 1, 2, ...
void write_counting(const std::string& path, const std::vector<int64_t>& shape);
// What write_tensor wrote, or zoo-run.
[[nodiscard]] at::Tensor read_tensor(const std::string& path);

}  // namespace zoo::testing
