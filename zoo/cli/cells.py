"""The cells of `zoo compile`: each backend at each precision that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compile.backends import BACKENDS, backend, choose
from compile.errors import Unavailable, UsageError, ZooError
from compile.precision import precision as find_precision
from zoo.cli.apart import REFUSED


@dataclass(kw_only=True)
class Cell:
    """One artifact to build: a row of the table."""

    backend: str
    precision: str
    device: str
    refused: str | None = None
    """Why this machine cannot build it."""
    failed: ZooError | None = None
    path: Path | None = None
    built: bool = False
    seconds: float = 0.0
    num_bytes: int = 0


def plan(backend_name: str, precision: str, device: str | None) -> list[Cell]:
    """Return the cells asked for; raise at once when a single one cannot be built here."""
    if precision != "all":
        find_precision(precision)
    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"unknown --device '{device}'; choose cpu or cuda")
    cells = []
    for name in BACKENDS if backend_name == "all" else [backend_name]:
        known = backend(name).PRECISIONS
        where = device or ("cpu" if "cpu" in known else "cuda")
        for each in known.get(where, ("fp32",)) if precision == "all" else (precision,):
            cell = Cell(backend=name, precision=each, device=where)
            try:
                choose(name, each, where)
            except (Unavailable, UsageError) as error:
                cell.refused = str(error).removeprefix(f"{name} ")
                if backend_name != "all" and precision != "all":
                    raise
            cells.append(cell)
    require_some(cells)
    return cells


def require_some(cells: list[Cell]) -> None:
    """Raise Unavailable when every cell was refused."""
    reasons = {f"{cell.backend} {cell.refused}" for cell in cells if cell.refused}
    if all(cell.refused for cell in cells):
        raise Unavailable(REFUSED + "; ".join(sorted(reasons)))
