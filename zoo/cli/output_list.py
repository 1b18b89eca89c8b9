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
    paths = [path for path in paths if ":" not in path]  # else it needs a name
    if paths:
        show(*wrapped([f"several: --output {one},{paths[-1]}; renamed: --output mine={paths[-1]}"]))
    given = [] if source.shape == source.native else ["--input", f"1x{size}"]
    show(f"next: {shlex.join(['zoo', 'compile', *source.words, *given, '--output', one])}")


def listed(source: Source) -> list[Listed]:
    """Every name and path of a network, with the shape that one run of it shows."""
    from zoo.sources.outputs import calls_of, named_outputs

    calls = {call.path: call for call in calls_of(source)}  # the last run of each
    names = [
        Listed(output=name, what=_what(place), shape=_shape(place, calls))
        for name, place in named_outputs(source).items()
    ]
    paths = [
        Listed(output=place, what=what, shape=_shape(place, calls), is_path=True)
        for path, module in source.network.named_modules()
        if path
        for place, what in _places(path, type(module).__name__, calls.get(path))
    ]
    return [row for row in names if row.shape is not None] + paths


def _what(place: str) -> str:
    return "what it returns" if place.partition(":")[0] == "" else place


def _places(path: str, kind: str, call: Call | None) -> list[tuple[str, str]]:
    """A module's path and kind; of one that returns several tensors, the place of each."""
    if call is None or len(call.tensors) < 2:
        return [(path, kind)]
    return [(f"{path}:{name}", f"one of {len(call.tensors)} of {kind}") for name in call.tensors]


def _shape(place: str, calls: dict[str, Call]) -> tuple[int, ...] | None:
    path, _, part = place.partition(":")
    call = calls.get(path)
    if call is None:
        return None
    if part:
        return call.given if part == "input" else call.tensors.get(part)
    return call.returned


def _table(rows: list[Listed]) -> Any:
    cells = [
        (row.output, row.what, "-" if row.shape is None else "x".join(map(str, row.shape)) or "1")
        for row in rows
    ]
    return table(("output", "what it is", "shape"), cells, left=("output", "what it is", "shape"))
