"""The cells of `zoo compile`: each backend at each precision that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.artifact.status import built_for
from compile.backends import BACKENDS, backend, check_gpus, choose
from compile.errors import Unavailable, UsageError, ZooError
from compile.machine import emulated
from compile.precision import REFERENCE
from compile.precision import precision as find_precision
from compile.report import size, table
from zoo.api.fastest import FASTEST, backends_of
from zoo.cli.labels import batched
from zoo.cli.tables import wrapped

_RESULTS = {"accepted": ", FAILED its proof", "pending": ", not run here"}
"""Status -> what the table adds."""

ALL = "all"
"""Every backend, or every precision that a backend has."""


@dataclass(kw_only=True)
class Cell:
    """One artifact to build: a row of the table."""

    backend: str
    precision: str
    device: str
    refused: str | None = None
    """Why this machine cannot build it."""
    failed: ZooError | None = None
    """Why the build, or its proof, failed."""
    path: Path | None = None
    built: bool = False
    """False if the artifact stood there already."""
    status: str | None = None
    """As the manifest has it: `proved`; `accepted` if its proof failed; `pending` if the program is
    for another machine and was not run."""
    built_for: str | None = None
    """The CPU level or the GPUs that it is for."""
    seconds: float = 0.0
    num_bytes: int = 0
    """Size of its programs' files."""
    outputs: dict[str, list[int]] | None = None
    """Name -> shape of one sample."""

    @property
    def name(self) -> str:
        """`onnx fp32`."""
        return f"{self.backend} {self.precision}"

    def note(self, path: Path, manifest: dict[str, Any], *, built: bool, seconds: float) -> None:
        """Fill in what was built, or was there."""
        programs = {program["file"] for program in manifest["programs"]}
        self.path, self.built, self.seconds = path, built, seconds
        self.status, self.built_for = manifest["status"], built_for(manifest)
        self.outputs = {output["name"]: output["shape"] for output in manifest["outputs"]}
        self.num_bytes = sum(int(manifest["files"][name]["size"]) for name in programs)


def failures(cells: list[Cell]) -> list[ZooError]:
    """What failed, each reason once, after the names of the cells that failed for it."""
    reasons: dict[tuple[type[ZooError], str], list[str]] = {}
    for cell in cells:
        if cell.failed is not None:
            text = str(cell.failed).removeprefix(f"{cell.name}: ")
            reasons.setdefault((type(cell.failed), text), []).append(cell.name)
    return [
        kind(text if text.startswith(names[0]) else f"{', '.join(names)}: {text}")
        for (kind, text), names in reasons.items()
    ]


def plan(
    backend_name: str, precision: str, device: str | None, gpus: Sequence[str] = ()
) -> list[Cell]:
    """Return the cells asked for; raise at once when a single one cannot be built here.

    `backend_name` and `precision` are a name, several with commas between them, or `all`. A
    precision that this CPU only emulates has to be named.
    """
    named = None if precision == ALL else [*dict.fromkeys(precision.split(","))]
    for each in named or ():
        find_precision(each)
    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"unknown --device '{device}'; choose cpu or cuda")
    backends = backends_of(device) if backend_name == FASTEST else _backends(backend_name)
    cells, alone = [], len(backends) == 1
    for name in backends:
        known = backend(name).PRECISIONS
        where = device or ("cpu" if "cpu" in known else "cuda")
        for each in known.get(where, (REFERENCE,)) if named is None else named:
            cell = Cell(backend=name, precision=each, device=where)
            try:
                choose(name, each, where)
                check_gpus(name, each, gpus if alone or backend(name).GPUS else ())
                cell.refused = emulated(each, where) if named is None else None
            except (Unavailable, UsageError) as error:
                cell.refused = str(error).removeprefix(f"{name} ")
                if alone and named is not None and len(named) == 1:
                    raise
            cells.append(cell)
    require_some(cells)
    return cells


def _backends(name: str) -> list[str]:
    return [*BACKENDS] if name == ALL else [*dict.fromkeys(name.split(","))]


def require_some(cells: list[Cell]) -> None:
    """Raise Unavailable when every cell was refused."""
    reasons = {f"{cell.backend} {cell.refused}" for cell in cells if cell.refused}
    if all(cell.refused for cell in cells):
        raise Unavailable(f"nothing can be built here: {'; '.join(sorted(reasons))}")


def compile_table(cells: list[Cell]) -> list[Any]:
    """A row for each cell, then why some cannot be built here."""
    rows = []
    for cell in cells:
        if cell.refused:
            result = "not here"
        elif cell.failed:
            result = "FAILED"
        else:
            result = "built" if cell.built else "up to date"
            result += _RESULTS.get(cell.status or "", "")
        seconds = f"{cell.seconds:.1f} s" if cell.built else "-"
        num_bytes = size(cell.num_bytes) if cell.path else "-"
        rows.append((cell.backend, cell.precision, cell.device, num_bytes, seconds, result))
    columns = ("backend", "precision", "device", "size", "time", "result")
    lines: list[Any] = [table(columns, rows, left=("backend", "precision", "device", "result"))]
    root = next((cell.path.parent for cell in cells if cell.path), None)
    lines += [*wrapped(refusals(cells)), *_returned(cells), *([f"in {root}/"] if root else [])]
    waiting = (cell for cell in cells if cell.status == "pending")
    lines += wrapped([f"pending until `zoo check {c.path}` on {c.built_for}" for c in waiting])
    return lines


def refusals(cells: list[Cell]) -> list[str]:
    """Why some cells cannot be built here: a line for each reason, with its backends."""
    backends: dict[str, list[str]] = {}
    for cell in cells:
        if cell.refused:
            backends.setdefault(cell.refused, []).append(cell.backend)
    return sorted(f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in backends.items())


def _returned(cells: list[Cell]) -> list[str]:
    """What the artifacts return; nothing if that is class scores alone."""
    outputs: dict[str, list[int]] = next((cell.outputs for cell in cells if cell.outputs), {})
    if [*outputs] in ([], ["logits"]):
        return []
    said = (f"{name} {batched(shape)}" for name, shape in outputs.items())
    return wrapped([f"outputs: {', '.join(said)}"])
