"""`zoo compile MODEL --output list`: the outputs that a network has, with their shapes."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from compile.report import show, table, to_json
from zoo.cli.tables import wrapped
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.sources.outputs import Call
    from zoo.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One output that can be asked for."""

    output: str
    """A name, or the path of a module."""
    what: str
    """For a name its place, for a path the kind of module."""
    shape: tuple[int, ...] | None
    """Of one sample; None if it is not one tensor, or the module is not run."""
    is_path: bool = False


def list_outputs(source: Source, *, json: bool) -> None:
    """Print them: the names first, then the paths of all modules in the order of the network."""
    rows = listed(source)
    if json:
        report = {"model": source.name, "outputs": [asdict(row) for row in rows]}
        print(to_json(report), end="")
        return
    size = "x".join(map(str, source.shape))
    show(f"{source.name} from {source.origin}, input {size}", _table(rows))
    if not rows:
        raise UsageError(f"{source.name} has no modules whose outputs could be named")
    one = rows[min(1, len(rows) - 1)].output
    paths = [row.output for row in rows if row.is_path and row.shape is not None]
    if paths:
        show(*wrapped([f"several: --output {one},{paths[-1]}; renamed: --output mine={paths[-1]}"]))
    given = [] if source.shape == source.native else ["--input", f"1x{size}"]
    show(f"next: {shlex.join(['zoo', 'compile', *source.words, *given, '--output', one])}")


def listed(source: Source) -> list[Listed]:
    """Every name and path of a network, with the shape that one run of it shows."""
    from zoo.sources.outputs import calls_of, named_outputs

    calls = {call.path: call for call in calls_of(source)}  # the last run of each
    names = [
        Listed(output=name, what=place or "what it returns", shape=_shape(place, calls))
        for name, place in named_outputs(source).items()
    ]
    paths = [
        Listed(output=path, what=type(module).__name__, shape=_shape(path, calls), is_path=True)
        for path, module in source.network.named_modules()
        if path
    ]
    return [row for row in names if row.shape is not None] + paths


def _shape(place: str, calls: dict[str, Call]) -> tuple[int, ...] | None:
    path, colon, _ = place.partition(":")
    call = calls.get(path)
    if call is None:
        return None
    return call.given if colon else call.returned


def _table(rows: list[Listed]) -> Any:
    cells = [
        (row.output, row.what, "-" if row.shape is None else "x".join(map(str, row.shape)) or "1")
        for row in rows
    ]
    return table(("output", "what it is", "shape"), cells, left=("output", "what it is", "shape"))
