# The one door: `just` lists what can be done; ./setup RECIPE does it on an empty machine too.

python := ".venv/bin/python"
zoo := ".venv/bin/zoo"
pip := python + " -m pip install --quiet --disable-pip-version-check -c constraints.txt"
index := if env("TORCH_INDEX", "") == "" { "" } else { "--extra-index-url " + env("TORCH_INDEX") }
wanted := sha256(sha256_file("pyproject.toml") + sha256_file("constraints.txt") + sha256_file("setup"))
installed := "[ \"$(cat .venv/installed 2>/dev/null)\" = " + wanted + " ]"
torch_dir := "\"$(" + python + " -c 'import importlib.util as u; print(u.find_spec(\"torch\").submodule_search_locations[0])')\""
alone := "flock build/runtime" # two cmakes at once would break each other
configure := "mkdir -p build/runtime && " + alone + " cmake -S runtime_cpp -B build/runtime -G Ninja -DCMAKE_BUILD_TYPE=Release -DZOO_TORCH_DIR=" + torch_dir
jobs := if num_cpus() == "1" { "1" } else { "2" } # one torch header takes a gigabyte to compile
cpp := "find runtime_cpp -name build -prune -o '(' -name '*.cpp' -o -name '*.h' ')' -print"

_list:
    @{{ just_executable() }} --list --unsorted

# Install zoo and its pinned packages, if they changed; TORCH_INDEX names an index for torch
[group('set-up')]
install:
    @{{ installed }} || { mkdir -p .venv; flock .venv sh -c '{{ installed }} || {{ just_executable() }} _install'; }

_install:
    @[ -x {{ python }} ] || python3 -m venv .venv
    {{ pip }} {{ index }} setuptools torch
    {{ pip }} --no-build-isolation -e '.[dev,int8,onnxruntime,openvino,study]'
    @echo {{ wanted }} > .venv/installed

# Build the C++ runner, build/runtime/zoo-run, and link it into .venv/bin
[group('set-up')]
runner: install
    @{{ configure }} --log-level=WARNING
    @{{ alone }} cmake --build build/runtime --target zoo-run -j {{ jobs }}
    @ln -sf ../../build/runtime/zoo-run .venv/bin/zoo-run

# Put zoo-run, its engines and libtorch into one folder that may be moved: build/bundle
[group('set-up')]
bundle: runner
    @rm -rf build/bundle
    @{{ alone }} cmake --install build/runtime --component bundle --prefix build/bundle > build/bundle.log
    @du -sh build/bundle

# Say what this machine has and what it lacks
[group('set-up')]
doctor: install
    {{ zoo }} doctor

# Remove what was built; runs and artifacts stay
[group('set-up')]
clean:
    rm -rf build .mypy_cache .pytest_cache .ruff_cache *.egg-info

# Train a small network, compile it for every backend, prove the results, measure them
[group('use')]
demo: install runner
    {{ zoo }} train resnet18 --if-needed
    {{ zoo }} compile --backend all
    {{ zoo }} compile --backend inductor --precision all
    {{ zoo }} check
    {{ zoo }} bench

# Measure the newest model's artifacts with the C++ runner
[group('use')]
bench *options: install runner
    {{ zoo }} bench {{ options }}

# Measure ResNet-50 in every backend and write the README's table; half an hour on a quiet machine
[group('use')]
table-resnet50: install runner
    {{ zoo }} compile resnet50 --fresh --backend all --precision all
    {{ python }} -m results.resnet50

# Measure zoo-run's forms beside OpenVINO, ONNX Runtime, MNN and others for --minutes N; resumes
[group('use')]
bench-peers *options: install runner
    {{ python }} -m results.peers.environments
    {{ python }} -m results.peers {{ options }}

# Count how often a comparison tells 3 % apart, and twins; 20 minutes on a quiet machine
[group('check')]
comparing *options: install runner
    {{ python }} -m results.comparing {{ options }}

# Run the tests, Python's and C++'s, and a slice of each long suite
[group('check')]
test: test-py test-cpp

# Run every test, the long suites from end to end; takes an hour
[group('check')]
test-all: (test-py "-m" "'not gpu'") test-cpp

# Run the Python tests, such as `just test-py -k parity`; on two cores two processes share the files
[group('check')]
test-py *options: install runner
    OMP_NUM_THREADS=1 {{ python }} -m pytest -q -n {{ jobs }} --dist loadfile -m "not gpu and not faults and not slow" {{ options }}

# Build and run the C++ tests
[group('check')]
test-cpp: install
    @{{ configure }} --log-level=WARNING
    @{{ alone }} cmake --build build/runtime -j {{ jobs }}
    ctest --test-dir build/runtime --output-on-failure

# Run the C++ tests that need no libtorch under the address and undefined-behaviour sanitizers
[group('check')]
sanitize:
    cd runtime_cpp && cmake --preset asan --log-level=WARNING
    cd runtime_cpp && cmake --build --preset asan -j {{ jobs }}
    cd runtime_cpp && ctest --preset asan

# Show what zoo does on an NVIDIA GPU in ten minutes, installing nothing; --dry-run needs no GPU
[group('check')]
gpu *options:
    {{ if path_exists(python) == "true" { python } else { "python3" } }} -m results.gpu {{ options }}

# Put what zoo-run is built with into build/gpu-pack, for a machine with a GPU and nothing to install from
[group('check')]
gpu-pack: install
    {{ python }} -m results.gpu.pack

# Run the tests that need an NVIDIA GPU and write results/gpu-<gpu>-<date>.md
[group('check')]
gpu-tests: install runner
    {{ python }} -m pytest -q -m gpu -p tests.support.gpu_report

# Plant every fault in every backend and write results/faults-<cpu>-<date>.md; takes 10 to 30 minutes
[group('check')]
faults: install runner
    {{ python }} -m pytest -q -m faults -p tests.support.fault_report

# Compile networks that nobody here wrote for --minutes N, resume where it stopped, and write the report
[group('check')]
corpus *options: install
    {{ python }} -m results.corpus {{ options }}

# Compile random networks that nobody has seen yet, two hours of them; the date is their seed
[group('check')]
corpus-nightly: (corpus "--part" "d" "--precision" "fp32" "--minutes" "120" "--seed" "$(date +%Y%m%d)")

# Print the rooms of the source and the imports between them
[group('check')]
layout: install
    @{{ python }} -m tests.support.layout

# Check format, style and types
[group('check')]
lint: install
    {{ python }} -m ruff check .
    {{ python }} -m ruff format --check .
    {{ python }} -m mypy
    {{ cpp }} | xargs -r .venv/bin/clang-format --dry-run -Werror

# Format everything
[group('check')]
fmt: install
    {{ python }} -m ruff check --fix --select I .
    {{ python }} -m ruff format .
    {{ cpp }} | xargs -r .venv/bin/clang-format -i
