"""What the figures were measured under, and why some of them are INVALID."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from compile.page.evidence import Evidence, Measured
from compile.page.fields import Json, mapping, positive, text, texts
from compile.page.markup import Content, Markup, breakable, items, join, sentence, tag
from compile.page.reading import Document
from compile.page.scenarios import scenario_of


def conditions(evidence: Evidence, documents: Iterable[Document]) -> Markup:
    """A list of facts with the values that the documents give; then the doubts; then the files."""
    facts = _facts(evidence)
    parts: list[Content] = [
        tag("dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in facts))
        if facts
        else sentence("No file here says what it was measured under."),
    ]
    if evidence.everything_measured() and not any(name == "CPU governor" for name, _ in facts):
        parts.append(sentence("The CPU's governor is not in these files.", "note"))
    parts += [tag("h3", "Why figures are INVALID"), _doubts(evidence)]
    if evidence.errors:
        parts += [
            tag("h3", "What could not be measured or proved"),
            items(evidence.errors),
        ]
    files = items(breakable(str(document.path)) for document in documents)
    return join([*parts, tag("h3", "Files"), files])


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Names and values; of several values all, in the order in which they were met."""
    found: dict[str, list[str]] = {}
    for row in evidence.everything_measured():
        for name, value in _of_measurement(row):
            found.setdefault(name, []).append(value)
    for manifest in evidence.manifests.values():
        for name, value in _of_manifest(manifest):
            found.setdefault(name, []).append(value)
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in found.items()]


def _of_measurement(row: Measured) -> Iterable[tuple[str, str]]:
    here = row.conditions
    named = (
        ("CPU", text(here, "cpu")),
        ("GPU architecture", text(here, "gpu_arch")),
        ("host", text(here, "host") or text(here, "machine")),
        ("threads", _whole(positive(here, "threads"))),
        ("usable cores", _whole(positive(here, "usable_cores") or positive(here, "cores"))),
        ("CPU level", text(here, "cpu_capability") or text(here, "level")),
        ("CPU governor", text(here, "governor")),
        ("allocator", _library(text(here, "allocator"))),
        ("OpenMP", _library(text(here, "openmp"))),
        ("torch", text(here, "torch") or text(here, "versions", "torch")),
        ("Python", text(here, "versions", "python")),
        ("other runtime", text(here, "runtime")),
        (f"commit of {row.place}", text(here, "commit")),
        ("measured on", (text(here, "date") or "")[:10]),
        ("environment", _environment(mapping(here, "environment"))),
        ("warning", "; ".join(texts(here, "warnings"))),
    )
    return ((name, value) for name, value in named if value)


def _of_manifest(manifest: Json) -> Iterable[tuple[str, str]]:
    named = (
        ("built on", (text(manifest, "build", "date") or "")[:10]),
        ("built from commit", text(manifest, "build", "commit")),
        ("weights, sha256", text(manifest, "model", "weights_sha256")),
        ("weights from", text(manifest, "model", "source")),
    )
    return ((name, value) for name, value in named if value)


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _library(path: str | None) -> str:
    return PurePosixPath(path).name if path else ""


def _environment(variables: Json) -> str:
    return ", ".join(f"{name}={value}" for name, value in variables.items())


def _doubts(evidence: Evidence) -> Markup:
    named = [(f"{row.leaf} in {row.place}", row) for row in evidence.measured]
    named += [(f"{row.leaf}, {scenario_of(row)}", row) for row in evidence.scenarios]
    named += [(f"{row.leaf}, {s}", row) for each in evidence.sweeps for s, row in each.rows]
    doubtful = [(name, row) for name, row in named if not row.valid]
    if not doubtful:
        return sentence("None is." if named else "Nothing was measured.")
    return items(
        f"{name}: {'; '.join(row.reasons) or 'the file gives no reason'}" for name, row in doubtful
    )
