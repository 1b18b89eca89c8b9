"""Find, build and call `zoo-run`, the C++ runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from compile.advice import how_to_build_runner
from compile.errors import CheckFailed, Unavailable, UsageError, by_code
from compile.files import disk_errors, held
from compile.machine import usable_cores
from compile.returned import Returned

_CHECKOUT = Path(__file__).resolve().parent.parent
_SOURCE = _CHECKOUT / "runtime_cpp"
_BUILD = _CHECKOUT / "build" / "runtime"


def find_runner(given: Path | None = None) -> Path | None:
    """Return zoo-run: as given, on PATH, or in this checkout's build folder; None if nowhere.

    Raises Unavailable when the one given does not exist.
    """
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise Unavailable(f"--runner {given} is not a program; {how_to_build_runner()}")
        return given
    on_path = shutil.which("zoo-run")
    candidates = ([Path(on_path)] if on_path else []) + [_BUILD / "zoo-run"]
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def is_built_here(runner: Path) -> bool:
    """Whether it is the zoo-run that `build_runner` builds, perhaps under a link on PATH."""
    return runner.resolve() == (_BUILD / "zoo-run").resolve()


def build_runner() -> Path | None:
    """Build zoo-run where a checkout and cmake are at hand, and return it; else None.

    A build that is up to date takes a fraction of a second; one that another command has begun is
    waited for. Raises Unavailable when it breaks.
    """
    cmake = shutil.which("cmake")
    if cmake is None or not (_SOURCE / "CMakeLists.txt").is_file():
        return None
    with disk_errors(_BUILD):
        _BUILD.mkdir(parents=True, exist_ok=True)
        with held(_BUILD):  # commands that build it at once would break each other
            _run_cmake(_configure(cmake))
            _run_cmake(_compile(cmake))
    return _BUILD / "zoo-run"


def _configure(cmake: str) -> list[str]:
    torch_folder = find_spec("torch")
    assert torch_folder is not None and torch_folder.origin is not None
    command = [cmake, "-S", str(_SOURCE), "-B", str(_BUILD), "-DCMAKE_BUILD_TYPE=Release"]
    command += [f"-DZOO_TORCH_DIR={Path(torch_folder.origin).parent}"]
    if shutil.which("ninja") and not (_BUILD / "CMakeCache.txt").exists():
        command += ["-G", "Ninja"]
    return command


def _compile(cmake: str) -> list[str]:
    jobs = min(2, usable_cores())  # one torch header takes a gigabyte to compile
    return [cmake, "--build", str(_BUILD), "-j", str(jobs), "--target", "zoo-run"]


def _run_cmake(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    output = (done.stdout + done.stderr).splitlines()
    lines = [line.strip() for line in output if line.strip()] or [f"cmake ended {done.returncode}"]
    first = next((i for i, line in enumerate(lines) if "rror" in line), len(lines) - 1)
    length = 2 if lines[first].endswith(":") else 1  # such a line only announces the next one
    reason = " ".join(lines[first : first + length]).rstrip(".")
    raise Unavailable(f"building zoo-run failed: {reason}; {how_to_build_runner()}")


def has_engine(runner: Path | None, backend: str) -> bool:
    """Whether there is a zoo-run, and it was built with an engine for the backend's files."""
    return runner is not None and backend in _engines(runner)


@cache
def _engines(runner: Path) -> frozenset[str]:
    """The backends that a zoo-run has engines for."""
    return frozenset(engine["backend"] for engine in capabilities(runner)["engines"])


@cache
def capabilities(runner: Path) -> dict[str, Any]:
    """What a zoo-run says that it can do: `engines`, `defaults` of a measurement, and more.

    Raises Unavailable for one that does not say it, such as that of an older version.
    """
    try:
        text = call_runner(runner, ["--capabilities"], timeout=60)
        said: dict[str, Any] = json.loads(text)
    except (UsageError, ValueError):
        raise Unavailable(
            f"{runner} is not a zoo-run of this version; {how_to_build_runner()}"
        ) from None
    return said


def call_runner(runner: Path, arguments: Sequence[str], *, timeout: float | None = None) -> str:
    """Run zoo-run and return its stdout; its own error line becomes our exception."""
    command = [str(runner), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except OSError as error:
        raise Unavailable(f"cannot run {runner} ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"{runner.name} did not finish within {timeout:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    if done.returncode in (130, 143):
        raise KeyboardInterrupt
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"it ended with {done.returncode} and said nothing"
    raise by_code(done.returncode)(reason)


def run_inputs(
    runner: Path,
    artifact: Path,
    x: torch.Tensor,
    threads: int | None,
    *,
    outputs: Sequence[str] | None = None,
    batch: int | None = None,
    unproved: bool = False,
) -> Returned:
    """Return what zoo-run computes for x (N, ...) in calls of `batch` rows: float32 (N, ...).

    `outputs` are the names of several outputs, in the order in which they are returned. N fits the
    program's batch: see `artifact.programs.run_rows` for how to fill the last chunk. Without
    `batch` zoo-run takes as many rows at once as the artifact answers. `unproved` lets those who
    prove an artifact run it whatever its status.
    """
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        several = outputs is not None and len(outputs) > 1
        given = Path(folder, "input.npy")
        returned = Path(folder, "output.safetensors" if several else "output.npy")
        np.save(given, x.contiguous().numpy(), allow_pickle=False)
        arguments = [str(artifact), "--input", str(given), "--output", str(returned), "--quiet"]
        if batch is not None:
            arguments += ["--batch", str(batch)]
        if unproved:
            arguments += ["--unproved", "--accept-error"]
        call_runner(runner, [*arguments, *library_paths(), *_threads(threads)])
        if several:
            tensors = load_file(returned)
            return tuple(tensors[name] for name in outputs or ())
        return torch.from_numpy(np.load(returned, allow_pickle=False))


def measure(
    runner: Path, artifact: Path, options: Sequence[str] = (), threads: int | None = None
) -> dict[str, Any]:
    """Return zoo-run's JSON report on an artifact; `options` are passed on."""
    arguments = [str(artifact), "--json", "-", *options, *library_paths(), *_threads(threads)]
    output = call_runner(runner, arguments)
    return json.loads(output)


def measure_several(
    runner: Path, artifacts: Sequence[Path], options: Sequence[str] = ()
) -> dict[str, Any]:
    """Return zoo-run's JSON report on several artifacts, compared; `options` are passed on."""
    arguments = [*map(str, artifacts), "--json", "-", *options, *library_paths()]
    return json.loads(call_runner(runner, arguments))


def library_paths() -> list[str]:
    """Options that tell zoo-run where pip put TensorRT's libraries: no loader looks there."""
    options = []
    for name, below in (("tensorrt_libs", ""), ("torch_tensorrt", "lib")):
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations if spec else None) or []:
            options += ["--library-path", str(Path(folder, below))]
    return options


def _threads(threads: int | None) -> list[str]:
    return [] if threads is None else ["--threads", str(threads)]


def allocator_of(runner: Path) -> str | None:
    """The shared library that serves zoo-run's memory, to be preloaded elsewhere, or None."""
    command = ["ldd", str(runner)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    match = re.search(r"=> (/\S*malloc\S*\.so\S*)", done.stdout)
    return match[1] if match else None
