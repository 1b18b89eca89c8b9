"""manifest.json: reading it safely and writing it. docs/artifact.md is the contract.

The fields stand in manifest.schema.json, the rules that a schema cannot say in rules.py. The
runner applies the same in the same order.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from compile.artifact.rules import GOLDEN, Manifest, broken_rule
from compile.artifact.schema import first_fault, manifest_schema
from compile.artifact.strict_json import parse_object
from compile.errors import BadArtifact, Unavailable
from compile.files import is_of_the_machine, read_regular

__all__ = [
    "GOLDEN",
    "GRAPH",
    "MANIFEST",
    "MANIFEST_HASH",
    "REBUILD",
    "SCHEMA",
    "Manifest",
    "check_manifest",
    "classes_of",
    "read_manifest",
    "read_with_hash",
    "write_manifest",
]

SCHEMA = "2.1"
"""What is written. Every minor version of schema 2 is read."""
MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
GRAPH = "graph.pt2"
MAX_BYTES = 2**20
MAX_DEPTH = 32
REBUILD = "it was changed or damaged: rebuild it with `zoo compile --force`"


def read_manifest(folder: Path) -> Manifest:
    """Steps 1 and 2 of opening an artifact, and the names of step 3: hash, JSON, schema, rules.

    Raises BadArtifact with what is wrong and what to run.
    """
    return read_with_hash(folder)[0]


def read_with_hash(folder: Path) -> tuple[Manifest, str]:
    """The manifest as `read_manifest` gives it, and the sha256 of its bytes in hex."""
    expected = _read(folder, MANIFEST_HASH, 65)
    if not re.fullmatch(rb"[0-9a-f]{64}\n", expected):
        raise BadArtifact(f"{folder / MANIFEST_HASH} is not 64 lowercase hex digits; {REBUILD}")
    text = _read(folder, MANIFEST, MAX_BYTES)
    digest = hashlib.sha256(text).hexdigest()
    if digest.encode() != expected[:64]:
        raise BadArtifact(f"{folder / MANIFEST} does not match its sha256; {REBUILD}")
    try:
        manifest = parse_object(text, depth=MAX_DEPTH)
    except ValueError as error:
        raise BadArtifact(f"{folder / MANIFEST} cannot be read: {error}; {REBUILD}") from None
    check_manifest(manifest, folder)
    return manifest, digest


def check_manifest(manifest: Manifest, folder: Path) -> None:
    """Raise BadArtifact unless the fields keep the schema and the rules."""
    _check_version(manifest.get("schema", ""), folder)
    fault = first_fault(manifest, manifest_schema()) or broken_rule(manifest)
    if fault is not None:
        raise BadArtifact(f"{folder / MANIFEST}: {fault}; {REBUILD}")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json and its hash into a staging folder, before it is published.

    Raises BadArtifact for a manifest that no reader would take: a name of a class too long, say.
    """
    check_manifest(manifest, folder)
    text = (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode()
    if len(text) > MAX_BYTES:
        raise BadArtifact("the manifest would be larger than 1 MiB: shorten the class names")
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_HASH).write_text(hashlib.sha256(text).hexdigest() + "\n")


def classes_of(manifest: Manifest) -> list[str] | None:
    """The names of the classes in the order of their scores, where they are known."""
    named = (output.get("classes") for output in manifest["outputs"])
    return next((classes for classes in named if classes is not None), None)


def _check_version(schema: Any, folder: Path) -> None:
    """Rule 1: another major schema is another zoo's; anything but a version is damage."""
    version = re.fullmatch(r"([0-9]{1,6})\.[0-9]{1,6}", schema if isinstance(schema, str) else "")
    if version is not None and version[1] != "2":
        raise BadArtifact(
            f"{folder} was built by another zoo (schema {schema}): build it again with "
            f"`zoo recompile {folder}`"
        )


def _read(folder: Path, name: str, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit`."""
    try:
        return read_regular(folder / name, limit)
    except OSError as error:
        if is_of_the_machine(error):
            raise Unavailable(f"{folder / name} cannot be read: {error.strerror}") from None
        raise BadArtifact(
            f"{folder} is not an artifact: cannot read {name} ({error.strerror}); build one with "
            "`zoo compile`"
        ) from None
    except ValueError as error:
        raise BadArtifact(f"{folder / name} {error}; {REBUILD}") from None
