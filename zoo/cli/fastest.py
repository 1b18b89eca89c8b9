"""What `zoo compile --backend fastest` does with its cells before and after they are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.precision import precision
from compile.report import short, table
from zoo.api.fastest import GOALS, UNJUDGED, Fastest, Wish, keep_fastest
from zoo.cli.cells import Cell, failures, refusals, require_some
from zoo.cli.labels import batch_of, broken, traits
from zoo.cli.selecting import raise_worst
from zoo.cli.tables import counted, wrapped

if TYPE_CHECKING:
    from compile.measure.fastest import Candidate
    from zoo.sources.source import Source

_LABEL_WIDTH = 16


def leave_out(cells: list[Cell], runner: Path, source: Source, max_loss: float | None) -> None:
    """Refuse, before they are built, the cells that cannot be compared or judged.

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
        raise_worst(failures(cells))
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
    labels = _labels(fastest, evidence["batch"])
    rows = [
        _row(*each, evidence)
        for each in sorted(
            zip(fastest.candidates, evidence["candidates"], labels, strict=True),
            key=lambda each: each[0].median_ms,
        )
    ]
    failed = [cell for cell in cells if cell.failed is not None]
    rows += [(cell.name, *("-",) * (len(_columns(evidence)) - 2), "FAILED") for cell in failed]
    flaws = [
        f"{each.artifact}: {'; '.join(each.flaws)}" for each in fastest.candidates if each.flaws
    ]
    notes = [
        *flaws,
        *(f"FAILED {failure}" for failure in failures(failed)),
        *refusals(cells),
        _conditions(evidence),
        *_removed(fastest),
        f"take {fastest.path.name}: {fastest.choice.reason}{_cost(fastest.choice.best)}",
    ]
    return [table(_columns(evidence), rows, left=("candidate", "verdict")), *wrapped(notes)]


def _columns(evidence: dict[str, Any]) -> tuple[str, ...]:
    speed = "images\n/s" if evidence["goal"] == GOALS[1] else "median\nms"
    head = ("candidate", speed, "time /\nchosen's", "95 %\ninterval")
    return (*head, "error", "points\nlost", "file\nMB", "verdict")


def _row(
    candidate: Candidate, entry: dict[str, Any], label: str, evidence: dict[str, Any]
) -> tuple[str, ...]:
    ratio, median = entry["ratio"], candidate.median_ms
    verdict = "\n".join(ratio["verdict"].split()) if ratio else "taken"
    return (
        label,
        short(1000 * evidence["batch"] / median if evidence["goal"] == GOALS[1] else median),
        f"{ratio['value']:.3f}" if ratio else "1",
        "{:.3f}\nto {:.3f}".format(*ratio["interval"]) if ratio else "",
        "-" if candidate.error is None else f"{candidate.error:.0e}",
        "-" if candidate.loss is None else f"{candidate.loss:.2f}",
        f"{candidate.num_bytes / 1e6:.1f}",
        "refused" if candidate.flaws else verdict,
    )


def _labels(fastest: Fastest, rows: int) -> list[str]:
    """What the table calls the candidates, measured in calls of `rows` rows."""
    names = {f"{Path(path).parent.name}/{Path(path).name}": path for path in fastest.manifests}
    manifests = {name: fastest.manifests[path] for name, path in names.items()}
    special = traits(manifests)
    return [
        "\n".join(
            [
                manifest["backend"],
                f"{manifest['precision']} {batch_of(manifest, rows)}",
                *broken(special[name], _LABEL_WIDTH),
            ]
        )
        for name, manifest in manifests.items()
    ]


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
    return [f"removed after the comparison: {names}; --keep-all keeps what was built"]


def _cost(best: Candidate) -> str:
    """What it loses in accuracy, if it was lowered."""
    if best.accuracy is None:
        unknown = precision(best.precision).lowered
        return f"; what {best.precision} loses in accuracy is not known" if unknown else ""
    before, after = best.accuracy["before"], best.accuracy["after"]
    return f"; the network classifies {before:.1f} % correctly, the artifact {after:.1f} %"
