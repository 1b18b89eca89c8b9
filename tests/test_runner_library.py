"""The C++ library zoo_runtime as another project uses it: installed, moved, found by CMake."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.api import compile_module
from compile.files import held
from compile.runner import capabilities
from compile.spec import CompileSpec
from tests.support.forgery import rewrite
from tests.support.make_manifests import SOUND
from tests.support.manifests import base
from tests.support.networks import SHAPE, small_net
from tests.support.package import call, cmake, tiny, torchscript
from tests.support.runner import golden_input, weights

SOURCE = Path(__file__).parents[1] / "runtime_cpp"
EXAMPLE = SOURCE / "example"
MAX_EXAMPLE_LINES = 15


@pytest.fixture(scope="module")
def package(runner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package lies; it was installed into another folder and moved."""
    place = tmp_path_factory.mktemp("package")
    with held(runner.parent):
        cmake("--build", runner.parent, "--target", "zoo_runtime", "zoo-run", "-j", 2)
        cmake("--install", runner.parent, "--prefix", place / "installed")
    return (place / "installed").rename(place / "moved")


@pytest.fixture(scope="module")
def example(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built against the package."""
    build = tmp_path_factory.mktemp("example")
    cmake("-S", EXAMPLE, "-B", build, f"-DCMAKE_PREFIX_PATH={package}")
    cmake("--build", build)
    return build / "best_class"


@pytest.fixture(scope="module")
def programs(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what the tests ask beyond the example, built against the package."""
    build = tmp_path_factory.mktemp("programs")
    cmake("-S", SOURCE / "tests" / "library", "-B", build, f"-DCMAKE_PREFIX_PATH={package}")
    cmake("--build", build)
    return build


@pytest.mark.parametrize("backend", ["torchscript", "onnx", "openvino"])
def test_the_example_prints_the_best_class(
    backend: str, example: Path, runner: Path, tmp_path: Path
) -> None:
    """Each engine is found, also those that are libraries of their own."""
    folder = tiny(backend, tmp_path, runner)
    classes = base()["outputs"][0]["classes"]
    for image in golden_input()[:4]:
        best = int((image.flatten() @ weights()).argmax())
        done = call(example, folder, given=image.numpy().tobytes())
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == classes[best] + "\n"


def test_the_example_is_short() -> None:
    assert len((EXAMPLE / "best_class.cpp").read_text().splitlines()) <= MAX_EXAMPLE_LINES


def test_the_header_needs_nothing_else(package: Path) -> None:
    """No header of torch or of another library, which an application would have to install too."""
    headers = list((package / "include").rglob("*.h"))
    assert [header.name for header in headers] == ["artifact.h"]
    lines = headers[0].read_text().splitlines()
    included = [line for line in lines if line.startswith("#include")]
    assert included and all("/" not in line and ".h" not in line for line in included)


def test_no_symbol_of_what_is_inside_leaves(package: Path) -> None:
    """An application may use another version of the same libraries."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm here: apt-get install binutils")
    library = next((package / "lib").rglob("libzoo_runtime.so"))
    command = [nm, "-DC", "--defined-only", library]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = [line.split(maxsplit=2)[2] for line in listing.splitlines()]
    assert any(name.startswith("zoo::Artifact::load(") for name in names)
    calls = r"zoo::Artifact::(~?Artifact|operator=|load|input|outputs|run)\(|zoo::Error::~?Error\("
    ours = re.compile(rf"{calls}|(typeinfo|typeinfo name|vtable) for zoo::Error$")
    assert [name for name in names if not ours.match(name)] == []


def test_the_installed_zoo_run_finds_its_engines(package: Path, tmp_path: Path) -> None:
    program = package / "bin" / "zoo-run"
    for engine in capabilities(program)["engines"]:
        if engine["backend"] in {"onnx", "openvino", "torchscript"}:
            folder = tiny(engine["backend"], tmp_path / engine["backend"], program)
            done = call(program, folder, "--check")
            assert (done.returncode, done.stderr) == (0, b"")


def test_what_is_wrong_is_one_line_and_its_kind(example: Path, tmp_path: Path) -> None:
    def line(folder: Path, code: int, given: bytes = bytes(16)) -> str:
        done = call(example, folder, given=given)
        text = done.stderr.decode()
        assert (done.returncode, done.stdout, text.count("\n")) == (code, b"", 1), text
        return text

    assert "No such file" in line(tmp_path / "none", 3)
    accepted = torchscript(tmp_path / "accepted")
    rewrite(accepted, SOUND["accepted-gate-not-passed"])
    assert "failed its proof; pass --accept-error" in line(accepted, 3)
    pending = torchscript(tmp_path / "pending")
    rewrite(pending, SOUND["pending"])
    assert "has not been proved on this machine: it was built for" in line(pending, 3)
    damaged = torchscript(tmp_path / "damaged")
    program = damaged / "model.ts"
    program.write_bytes(program.read_bytes()[:-1] + b"x")
    assert "model.ts: its sha256 is not the one" in line(damaged, 3)
    needing = torchscript(tmp_path / "needing", requirements=_needs("libnone.so"))
    assert "the artifact needs the library libnone.so" in line(needing, 4)
    nan = torch.tensor([float("nan")] * 4).numpy().tobytes()
    assert "holds NaN or Inf" in line(torchscript(tmp_path / "sound"), 3, nan)


def _needs(library: str) -> dict[str, Any]:
    requirements = base()["requirements"]
    return {**requirements, "torch": None, "isa": [], "load_first": [library]}


def test_bytes_run_and_other_images_are_refused(
    programs: Path, runner: Path, tmp_path: Path
) -> None:
    folder = torchscript(tmp_path, byte_input=True)
    done = call(programs / "calls", folder)
    assert (done.returncode, done.stderr) == (0, b"")
    values, *refusals = done.stdout.decode().splitlines()
    wanted = torch.arange(8).reshape(2, 4) / 255 @ weights()
    given = torch.tensor([float(value) for value in values.split()]).reshape(2, 3)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-6)  # as they were printed
    assert refusals == [
        "3 images: 8 values were given for a batch of 3; one image has 4",
        "3 images: 8 values were given for a batch of 0; one image has 4",
        "3 images: is float32 [2, 2, 2, 1], the program takes uint8 [N, 2, 2, 1]; give uint8"
        " (N, H, W, C), 0 to 255, not normalised",
    ]


@pytest.mark.parametrize("backend", ["torchscript", "inductor", "openvino"])
def test_threads_share_an_artifact(
    backend: str, programs: Path, runner: Path, tmp_path: Path
) -> None:
    """Inductor packs weights for the batch of a call, and OpenVINO answers one call at a time."""
    if find_spec(backend) is None and backend == "openvino":
        pytest.skip("openvino is not installed")
    spec = CompileSpec(shape=SHAPE, batch=(1, 4))
    made = compile_module(small_net(), spec, backend=backend, root=tmp_path / "a", runner=runner)
    (tmp_path / "tmp").mkdir()
    done = call(programs / "sharing", made.path, 1, 3, TMPDIR=str(tmp_path / "tmp"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"0 of 200 differ\n"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_it_can_be_added_as_a_folder(tmp_path: Path) -> None:
    """Every link is resolved when CMake generates: also those of libraries that are to be kept."""
    cmake("-S", EXAMPLE, "-B", tmp_path, *_added())


@pytest.mark.slow
def test_it_can_be_built_as_a_folder(tmp_path: Path) -> None:
    cmake("-S", EXAMPLE, "-B", tmp_path, *_added())
    cmake("--build", tmp_path, "-j", 2, "--target", "best_class")
    image = golden_input()[0]
    folder = torchscript(tmp_path / "artifact")
    done = call(tmp_path / "best_class", folder, given=image.numpy().tobytes())
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, b"", 2)


def _added() -> list[str]:
    torch_folder = Path(torch.__file__).parent
    return [
        f"-DZOO_SOURCE={SOURCE}",
        f"-DZOO_TORCH_DIR={torch_folder}",
        "-DCMAKE_BUILD_TYPE=Release",
    ]
