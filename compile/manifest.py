"""manifest.json: its fields, their types, and reading it safely. docs/artifact.md is the contract.

The runner applies the same rules in the same order.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import NoneType
from typing import Any

from compile.archive import check_relative
from compile.errors import BadArtifact

SCHEMA = "1.0"
MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
GOLDEN = "golden.pt"
MAX_BYTES = 2**20

Manifest = dict[str, Any]

_NUMBER = (int, float)
_TEXT_OR_NULL = (str, NoneType)

FIELDS: dict[str, tuple[type, ...]] = {
    "model.name": (str,),
    "model.parameters": (int,),
    "model.macs": (int, NoneType),
    "model.weights_sha256": (str,),
    "model.source": (str,),
    "model.classes": (list, NoneType),
    "model.preprocessing": (dict, NoneType),
    "backend": (str,),
    "precision": (str,),
    "device": (str,),
    "target.name": (str,),
    "target.cpuid": (list,),
    "inputs": (list,),
    "outputs": (list,),
    "programs": (list,),
    "requirements.torch": _TEXT_OR_NULL,
    "requirements.isa": (list,),
    "requirements.gpu_arch": _TEXT_OR_NULL,
    "requirements.cuda": _TEXT_OR_NULL,
    "requirements.tensorrt": _TEXT_OR_NULL,
    "requirements.load_first": (list,),
    "files": (dict,),
    "parity.k": _NUMBER,
    "parity.samples": (list,),
    "build": (dict,),
}
"""Dotted path -> allowed JSON types, of every field that a reader relies on."""


def read_manifest(folder: Path) -> Manifest:
    """Steps 1 to 3 of opening an artifact: hash, JSON, schema, fields, file names.

    Raises BadArtifact with what is wrong and what to run.
    """
    try:
        expected = (folder / MANIFEST_HASH).read_bytes()
        with (folder / MANIFEST).open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadArtifact(
            f"{folder} is no artifact: cannot read {Path(error.filename or folder).name} "
            f"({error.strerror}); build one with `zoo compile`"
        ) from None
    if not re.fullmatch(rb"[0-9a-f]{64}\n", expected):
        raise BadArtifact(f"{folder / MANIFEST_HASH} is not 64 lowercase hex digits; {REBUILD}")
    if len(text) > MAX_BYTES:
        raise BadArtifact(f"{folder / MANIFEST} is larger than 1 MiB; {REBUILD}")
    if hashlib.sha256(text).hexdigest().encode() != expected[:64]:
        raise BadArtifact(f"{folder / MANIFEST} does not match its sha256; {REBUILD}")
    manifest = _parse(text, folder / MANIFEST)
    _check_fields(manifest, folder / MANIFEST)
    return manifest


REBUILD = "it was changed or damaged: rebuild it with `zoo compile --force`"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json and its hash into a staging folder, before it is published."""
    text = (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode()
    if len(text) > MAX_BYTES:
        raise BadArtifact("the manifest would be larger than 1 MiB: shorten the class names")
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_HASH).write_text(hashlib.sha256(text).hexdigest() + "\n")


def field(manifest: Manifest, path: str) -> Any:
    """Return the value at a dotted path; KeyError when it is not there."""
    value: Any = manifest
    for part in path.split("."):
        if not isinstance(value, dict):
            raise KeyError(path)
        value = value[part]
    return value


def _parse(text: bytes, where: Path) -> Manifest:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise BadArtifact(f"{where} holds the key '{twice}' twice")
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise BadArtifact(f"{where} holds {name}, which is not JSON")

    try:
        manifest = json.loads(
            text.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant
        )
    except (ValueError, RecursionError) as error:
        raise BadArtifact(f"{where} is not JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise BadArtifact(f"{where} is not a JSON object")
    return manifest


def _check_fields(manifest: Manifest, where: Path) -> None:
    schema = manifest.get("schema")
    if not isinstance(schema, str) or schema.split(".")[0] != SCHEMA.split(".")[0]:
        raise BadArtifact(f"{where} has schema {schema!r}; this zoo reads {SCHEMA}")
    for path, types in FIELDS.items():
        try:
            value = field(manifest, path)
        except KeyError:
            raise BadArtifact(f"{where} lacks the field '{path}'") from None
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise BadArtifact(f"{where}: the field '{path}' has the wrong type")
    _check_lists(manifest, where)
    for name, entry in manifest["files"].items():
        check_relative(name, str(where))
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("size"), int)
            and re.fullmatch(r"[0-9a-f]{64}", str(entry.get("sha256")))
        ):
            raise BadArtifact(f"{where}: files['{name}'] has no size and sha256")
    for name in (GOLDEN, *(program["file"] for program in manifest["programs"])):
        if name not in manifest["files"]:
            raise BadArtifact(f"{where} uses {name}, but lists no hash for it")


def _check_lists(manifest: Manifest, where: Path) -> None:
    """The entries of the lists that a reader indexes into."""

    def fail(path: str) -> None:
        raise BadArtifact(f"{where}: the field '{path}' has the wrong form")

    for path in ("target.cpuid", "requirements.isa", "requirements.load_first"):
        if not all(isinstance(entry, str) for entry in field(manifest, path)):
            fail(path)
    for path, rank in (("inputs", 3), ("outputs", 1)):
        entries = manifest[path]
        if len(entries) != 1 or not _is_tensor(entries[0], rank):
            fail(path)
    if not manifest["programs"] or not all(_is_program(entry) for entry in manifest["programs"]):
        fail("programs")
    if not all(_is_sample(entry) for entry in manifest["parity"]["samples"]):
        fail("parity.samples")


def _is_tensor(entry: Any, rank: int) -> bool:
    if not isinstance(entry, dict) or entry.get("dtype") != "float32":
        return False
    shape = entry.get("shape")
    return (
        isinstance(shape, list)
        and len(shape) == rank
        and all(type(size) is int and 1 <= size < 2**31 for size in shape)
    )


def _is_program(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        return False
    batch = entry.get("batch")
    return (
        isinstance(entry.get("entry"), str | None)
        and isinstance(batch, list)
        and len(batch) == 2
        and all(type(size) is int for size in batch)
        and 1 <= batch[0] <= batch[1] < 2**31
    )


def _is_sample(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("kind"), str)
        and all(
            isinstance(entry.get(key), _NUMBER) and not isinstance(entry[key], bool)
            for key in ("e_eager", "floor")
        )
    )
