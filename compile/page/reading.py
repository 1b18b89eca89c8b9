"""Which of zoo's files a JSON file is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.artifact.manifest import MANIFEST, MAX_DEPTH, check_manifest
from compile.artifact.strict_json import parse_object
from compile.errors import BadArtifact, Unavailable, UsageError, printable
from compile.files import is_of_the_machine, read_regular
from compile.measure.settings import SINGLE_STREAM
from compile.page.fields import Json, mapping, objects, positive, text

MAX_BYTES = 256 * 2**20
"""Of one file. A million samples take 10 MB."""

WANTED = (
    "a report of `zoo-run --json FILE`, of `zoo bench`, `zoo compare`, `zoo check` or "
    "`zoo inspect` with --json, of `zoo compile --backend fastest --json`, or a manifest.json"
)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One file that zoo or zoo-run wrote."""

    path: Path
    """As it was given."""
    kind: str
    """A name in KINDS."""
    body: Json


def _is_bench(body: Json) -> bool:
    return all(isinstance(body.get(key), list) for key in ("reports", "errors"))


def _is_single_bench(body: Json) -> bool:
    return text(body, "artifact") is not None and "runner" in body and bool(mapping(body, "python"))


def _is_check(body: Json) -> bool:
    rows = objects(body, "rows")
    complete = all(text(row, "artifact") and text(row, "ran_in") for row in rows)
    return (
        isinstance(body.get("rows"), list) and complete and bool({"errors", "conditions"} & {*body})
    )


def _is_measurement(body: Json) -> bool:
    named = text(body, "artifact") is not None and text(body, "backend") is not None
    return named and positive(body, "latency_ms", "median") is not None


def _is_scenario(body: Json) -> bool:
    return _is_measurement(body) and text(body, "scenario") not in (None, SINGLE_STREAM)


def _is_sweep(body: Json) -> bool:
    named = text(body, "artifact") is not None
    return text(body, "kind") == "sweep" and named and bool(objects(body, "settings"))


def _is_proof(body: Json) -> bool:
    return text(body, "artifact") is not None and text(body, "check", "verdict") is not None


def _is_comparison(body: Json) -> bool:
    return text(body, "kind") == "comparison" and bool(objects(body, "programs"))


def _is_fastest(body: Json) -> bool:
    named = mapping(body, "manifests")
    plain = all(printable(path) == path for path in named)
    return _is_comparison(mapping(body, "comparison")) and bool(named) and plain


def _is_manifest(body: Json) -> bool:
    return {"schema", "model", "parity", "programs", "build"} <= {*body}


KINDS: dict[str, Callable[[Json], bool]] = {
    "manifest": _is_manifest,
    "bench": _is_bench,
    "single bench": _is_single_bench,
    "check": _is_check,
    "proof": _is_proof,
    "scenario": _is_scenario,
    "measurement": _is_measurement,
    "sweep": _is_sweep,
    "comparison": _is_comparison,
    "fastest": _is_fastest,
}
"""By what each is called here, in the order in which they are tried: `bench` and `check` are those
of the command, `single bench` is what the function zoo.bench returns, `proof` and `measurement` are
zoo-run's, with and without --check. `scenario` is zoo-run's with --scenario, and `sweep` that of
`zoo bench --sweep`. `comparison` is zoo-run's of several artifacts, and `fastest` what `zoo compile
--backend fastest` prints, with a comparison and manifests in it.
"""


def read_document(path: Path) -> Document:
    """Read one file and say what it is.

    Raises UsageError if it is not there, Unavailable if it may not be read, and BadArtifact if it
    is not one of KINDS.
    """
    body = _parse(path)
    kind = next((name for name, fits in KINDS.items() if fits(body)), None)
    if kind is None:
        raise BadArtifact(f"{path} is JSON, but not a report or manifest of zoo; give {WANTED}")
    for manifest in manifests_of(kind, body).values():
        check_manifest(manifest, path.parent)
    return Document(path=path, kind=kind, body=body)


def manifests_of(kind: str, body: Json) -> dict[str, Json]:
    """Path of an artifact, or "" for the document's own -> its manifest."""
    if kind == "manifest":
        return {"": body}
    named = mapping(body, "manifests") if kind == "fastest" else {}
    return {path: each for path, each in named.items() if isinstance(each, dict)}


def _parse(path: Path) -> dict[str, Any]:
    if not os.path.lexists(path):
        raise UsageError(f"{path} is not there; give {WANTED}")
    try:
        content = read_regular(os.path.realpath(path), MAX_BYTES)
        return parse_object(content, depth=MAX_DEPTH)
    except OSError as error:
        kind = Unavailable if is_of_the_machine(error) else BadArtifact
        raise kind(f"{path} cannot be read: {error.strerror}; give {WANTED}") from None
    except ValueError as error:
        reason = f"{path}: {error}" if path.name == MANIFEST else f"{path} is not a report: {error}"
        raise BadArtifact(f"{reason}; give {WANTED}") from None
