"""The stages of `just gpu` as rows: what each runs, and how long it may take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from compile.artifact.manifest import read_manifest
from compile.artifact.publishing import find_artifacts
from compile.backends import BACKENDS, DEFAULT, backend
from results.gpu.running import Step

PYTHON = (sys.executable, "-P", "-m")
_TORCHRUN = (
    *(*PYTHON, "torch.distributed.run", "--standalone"),
    *("--local-addr", "127.0.0.1", "--nproc-per-node", "1", "-m"),
)
"""`--local-addr`: a machine without a network need not know its own name."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large everything is."""

    device: str
    network: str = "resnet18"
    """Compiled and measured."""
    cells: tuple[tuple[str, str], ...] | None = None
    """Backends and precisions; None: every one of the device."""
    precisions: tuple[str, ...] = ("bf16", "fp32")
    """What latencies are taken at."""
    compiler: str = "max-autotune"
    seconds: float = 5.0
    """Of timed calls of a measurement."""
    target: str = "zoo-run"
    """What cmake builds; `help` builds nothing."""
    jobs: int = 16
    """Compilers at once."""
    at_once: int = 5
    """Artifacts that are built at once."""
    trained: str = "resnet50"
    images: tuple[int, int] = (224, 256)
    """Height and width, and how many make a step."""
    training: tuple[str, ...] = ("bf16", "fp32")
    """Precisions of training."""
    training_seconds: float = 12.0
    epochs: int = 400
    """Of the run that is interrupted."""
    patience: float = 1.0
    """What every time limit is multiplied by."""


REAL = Size(device="cuda")
TINY = Size(
    device="cpu",
    network="resnet20",
    cells=(("torchscript", "fp32"),),
    precisions=("fp32",),
    compiler="eager",
    seconds=0.1,
    target="help",
    jobs=1,
    at_once=1,
    trained="resnet20",
    images=(8, 8),
    training=("fp32",),
    training_seconds=0.1,
    epochs=40,
    patience=10.0,
)
"""For a dry run: the same commands on a CPU, as small as they can be."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where everything lies, and how large it is."""

    size: Size
    folder: Path
    """For the artifacts, the runs and the build."""
    pack: Path
    """What zoo-run is built with."""
    runner: Path
    """zoo-run, once it is built."""

    @property
    def artifacts(self) -> Path:
        """Root folder of the artifacts."""
        return self.folder / "artifacts"

    def measured(self) -> list[Path]:
        """The artifacts that were built and that zoo-run has an engine for."""
        found = find_artifacts(self.artifacts)
        engines = _engines(self.runner) if found else set()
        return [path for path in found if read_manifest(path)["backend"] in engines]


def _engines(runner: Path) -> set[str]:
    """The backends that a zoo-run runs; none if it is not there."""
    try:
        said = subprocess.run(
            [runner, "--capabilities"], capture_output=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return set()
    return {engine["backend"] for engine in json.loads(said.stdout)["engines"]}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row: its steps are made when it begins, from what the stages before it left."""

    name: str
    seconds: float
    """Its limit."""
    steps: Callable[[Plan], Iterator[Step]] = field(repr=False)
    at_once: Callable[[Size], int] = lambda size: 1


def _machine(plan: Plan) -> Iterator[Step]:
    """What the machine has; also written where a later stage dies."""
    del plan
    yield Step(name="packages", command=(*PYTHON, "results.gpu.here"))


def cells(size: Size) -> list[tuple[str, str]]:
    """Backend and precision of each artifact, the default backend's first: it compiles longest."""
    if size.cells is not None:
        return list(size.cells)
    names = sorted(BACKENDS, key=lambda name: name != DEFAULT)
    return [
        (name, precision)
        for name in names
        for precision in backend(name).PRECISIONS.get(size.device, ())
    ]


def _artifacts(plan: Plan) -> Iterator[Step]:
    """Every artifact, proved in Python. A backend that is not here says so in a second."""
    size = plan.size
    for name, precision in cells(size):
        yield Step(
            name=f"{name} {precision}",
            command=(
                *(*PYTHON, "results.gpu.artifact", size.network, "--backend", name),
                *("--precision", precision, "--device", size.device),
                *("--root", str(plan.artifacts)),
            ),
        )


def _build(plan: Plan) -> Iterator[Step]:
    """zoo-run, with CUDA if this Python's torch has it."""
    spec = find_spec("torch")
    torch = Path(spec.origin).parent if spec is not None and spec.origin else Path("no-torch")
    build = str(plan.folder / "build")
    yield Step(
        name="configure",
        command=(
            *("cmake", "-S", "runtime_cpp", "-B", build, "-G", "Ninja"),
            *("-DCMAKE_BUILD_TYPE=Release", f"-DZOO_TORCH_DIR={torch}", "-DZOO_TESTS=OFF"),
            *(f"-DZOO_DEPENDENCIES_DIR={plan.pack}", "-DZOO_WARNINGS_ARE_ERRORS=OFF"),
        ),
    )
    jobs = ("-j", str(plan.size.jobs))
    yield Step(
        name="build", command=("cmake", "--build", build, "--target", plan.size.target, *jobs)
    )


def _runner(plan: Plan) -> Iterator[Step]:
    """Each artifact proved in zoo-run, as it is and through CUDA graphs."""
    yield Step(name="capabilities", command=(str(plan.runner), "--capabilities"))
    for path in plan.measured():
        for words in _graphs(plan.size):
            check = (str(plan.runner), str(path), "--check", "--json", "-", *words)
            yield Step(name=" ".join((path.name, *words)), command=check, seconds=20)


def _graphs(size: Size) -> tuple[tuple[str, ...], ...]:
    """Without CUDA graphs, and with them where there may be any."""
    return ((), ("--cuda-graph",)) if size.device == "cuda" else ((),)


def _latencies(plan: Plan) -> Iterator[Step]:
    """zoo-run's latencies, then in Python beside PyTorch's own."""
    size = plan.size
    for path in plan.measured():
        if read_manifest(path)["precision"] in size.precisions:
            for words in _graphs(size):
                timed = (str(plan.runner), str(path), "--duration", f"{size.seconds / 4:g}")
                step = " ".join(("zoo-run", path.name, *words))
                yield Step(name=step, command=(*timed, "--json", "-", *words), seconds=20)
    for precision in size.precisions:
        yield Step(
            name=f"Python {precision}",
            command=(
                *(*PYTHON, "results.gpu.latencies", size.network, "--precision", precision),
                *("--device", size.device, "--root", str(plan.artifacts)),
                *("--seconds", f"{size.seconds:g}", "--compiler", size.compiler),
            ),
            seconds=70,
        )


def _training(plan: Plan) -> Iterator[Step]:
    """Images per second beside a plain loop, and the memory that takes."""
    size = plan.size
    for precision in size.training:
        yield Step(
            name=f"{size.trained} {precision}",
            command=(
                *(*PYTHON, "results.gpu.training", size.trained, "--device", size.device),
                *("--precision", precision, "--size", str(size.images[0])),
                *("--batch", str(size.images[1]), "--seconds", f"{size.training_seconds:g}"),
            ),
            seconds=45,
        )


def _distributed(plan: Plan) -> Iterator[Step]:
    """Calls over a process group, a run under torchrun, and a run that is interrupted."""
    size, runs = plan.size, plan.folder / "runs"
    on = ("--device", size.device)
    yield Step(name="collectives", command=(*_TORCHRUN, "results.gpu.collectives", *on))
    yield Step(
        name="torchrun zoo train",
        command=(
            *(*_TORCHRUN, "zoo", "train", "resnet20", "--data", "synthetic:10:64", *on),
            *("--size", "8", "--epochs", "2", "--set", "batch=16", "--out", str(runs), "--json"),
        ),
    )
    yield Step(
        name="resume",
        command=(
            *(*PYTHON, "results.gpu.resuming", "resnet20", *on),
            *("--epochs", str(size.epochs), "--root", str(runs)),
        ),
    )


STAGES = (
    Stage(name="machine", seconds=20, steps=_machine),
    Stage(name="artifacts", seconds=120, steps=_artifacts, at_once=lambda size: size.at_once),
    Stage(name="build", seconds=110, steps=_build),
    Stage(name="runner", seconds=60, steps=_runner),
    Stage(name="latencies", seconds=150, steps=_latencies),
    Stage(name="training", seconds=80, steps=_training),
    Stage(name="distributed", seconds=55, steps=_distributed),
)
"""In the order of their worth: 595 seconds together."""
