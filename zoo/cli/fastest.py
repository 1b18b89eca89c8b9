"""What `zoo compile --backend fastest` does with its cells once they are planned, and built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.precision import precision
from compile.report import short, size, table
from zoo.api.fastest import GOALS, UNJUDGED, Fastest, Wish, keep_fastest
from zoo.cli.cells import Cell, refusals, require_some
from zoo.cli.labels import broken
from zoo.cli.selecting import raise_worst
from zoo.cli.tables import counted, wrapped

if TYPE_CHECKING:
    from compile.measure.fastest import Candidate
    from zoo.sources.source import Source

_LABEL_WIDTH = 22


def leave_out(cells: list[Cell], runner: Path, source: Source, max_loss: float | None) -> None:
    """Refuse the cells that could not be compared, or not be judged, before they are built.

    Raises Unavailable if none is left.
    """
    from compile.runner import has_engine

    lowered = [cell for cell in cells if precision(cell.precision).lowered]
    unlabelled = max_loss is not None and bool(lowered) and source.labelled() is None
    for cell in cells:
        if cell.refused is None and not has_engine(runner, cell.backend):
            cell.refused = "zoo-run has no engine for it"
        elif cell.refused is None and unlabelled and cell in lowered:
            cell.refused = UNJUDGED.format(cell.precision)
    require_some(cells)


def take_fastest(
    cells: list[Cell],
    runner: Path,
    wish: Wish,
    source: Source,
    before: Sequence[Path],
    tell: Callable[[str], None],
) -> Fastest:
    """Compare what was built, and keep one. `before` are artifacts that must stay.

    Raises what broke the builds if none is there to compare.
    """
    built = [(cell, cell.path) for cell in cells if cell.path is not None]
    if not built:
        raise_worst([cell.located_failure() for cell in cells if cell.failed is not None])
        require_some(cells)
    left_out = [
        {
            "backend": cell.backend,
            "precision": cell.precision,
            "reason": str(cell.failed or cell.refused),
        }
        for cell in cells
        if cell.path is None
    ]
    there = {path.resolve() for path in before}
    return keep_fastest(
        [path for _, path in built],
        runner,
        wish,
        source=source,
        disposable=[path for cell, path in built if cell.built and path.resolve() not in there],
        left_out=left_out,
        progress=tell,
    )


def fastest_entries(fastest: Fastest) -> dict[str, Any]:
    """What --json prints beside the cells. `zoo report` reads it."""
    return {
        "kind": "fastest",
        "path": str(fastest.path),
        "chosen": fastest.manifest["evidence"],
        "removed": [str(path) for path in fastest.removed],
        "comparison": fastest.comparison,
        "manifests": fastest.manifests,
    }


def fastest_table(fastest: Fastest, cells: list[Cell]) -> list[Any]:
    """A row for each candidate, the fastest first; what could not take part; and which to take."""
    evidence = fastest.manifest["evidence"]
    rows = [
        _row(candidate, entry, fastest)
        for candidate, entry in sorted(
            zip(fastest.candidates, evidence["candidates"], strict=True),
            key=lambda pair: pair[0].median_ms,
        )
    ]
    failed = [cell for cell in cells if cell.failed is not None]
    rows += [(cell.name, *("-",) * (len(_columns(evidence)) - 2), "FAILED") for cell in failed]
    flaws = [
        f"{each.artifact}: {'; '.join(each.flaws)}" for each in fastest.candidates if each.flaws
    ]
    notes = [
        *flaws,
        *(f"FAILED {cell.located_failure()}" for cell in failed),
        *refusals(cells),
        _conditions(evidence),
        *_removed(fastest),
        f"take {fastest.path.name}: {fastest.choice.reason}{_cost(fastest.choice.best)}",
    ]
    return [table(_columns(evidence), rows, left=("candidate", "verdict")), *wrapped(notes)]


def _columns(evidence: dict[str, Any]) -> tuple[str, ...]:
    speed = ("images\n/s",) if evidence["goal"] == GOALS[1] else ()
    head = ("candidate", "median\nms", *speed, "time /\nchosen's", "95 %\ninterval")
    return (*head, "error", "points\nlost", "file", "verdict")


def _row(candidate: Candidate, entry: dict[str, Any], fastest: Fastest) -> tuple[str, ...]:
    evidence, ratio = fastest.manifest["evidence"], entry["ratio"]
    rate = short(1000 * evidence["batch"] / candidate.median_ms)
    verdict = ratio["verdict"].replace(" shown", "\nshown") if ratio else "taken"
    return (
        "\n".join(broken(candidate.artifact, _LABEL_WIDTH)),
        short(candidate.median_ms),
        *((rate,) if evidence["goal"] == GOALS[1] else ()),
        f"{ratio['value']:.3f}" if ratio else "1",
        "{:.3f}\nto {:.3f}".format(*ratio["interval"]) if ratio else "",
        "-" if candidate.error is None else f"{candidate.error:.0e}",
        "-" if candidate.loss is None else f"{candidate.loss:.2f}",
        size(candidate.num_bytes),
        "refused" if candidate.flaws else verdict,
    )


def _conditions(evidence: dict[str, Any]) -> str:
    here = evidence["conditions"]
    return (
        f"for {evidence['goal']}, batch {evidence['batch']}, {evidence['rounds']} rounds of "
        f"zoo-run, {here['cpu']}, {counted([here['threads']], 'thread')}, torch {here['torch']}, "
        f"{here['date']}"
    )


def _removed(fastest: Fastest) -> list[str]:
    if not fastest.removed:
        return []
    names = ", ".join(path.name for path in fastest.removed)
    return [f"removed, as it was built for this alone: {names}; --keep-all keeps it"]


def _cost(best: Candidate) -> str:
    """What it loses in accuracy, if it was lowered."""
    if best.accuracy is None:
        unknown = precision(best.precision).lowered
        return f"; what {best.precision} loses in accuracy is not known" if unknown else ""
    before, after = best.accuracy["before"], best.accuracy["after"]
    return f"; accuracy {before:.1f} % before, {after:.1f} % after"
