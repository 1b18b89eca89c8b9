"""manifest.json: its fields, their types, and reading it safely. docs/artifact.md is the contract.

The runner applies the same rules in the same order.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NoReturn

from compile.artifact.archive import check_relative
from compile.errors import BadArtifact, Unavailable
from compile.spec import MAX_ROWS, ROWS

SCHEMA = "1.2"
MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
GOLDEN = "golden.pt"
GRAPH = "graph.pt2"
MAX_BYTES = 2**20
MAX_DEPTH = 32

Manifest = dict[str, Any]

_COUNT = int
_NULL = None
_TENSOR: dict[str, Any] = {"name": str, "dtype": str}

SHAPE: dict[str, Any] = {
    "schema": str,
    "model": {
        "name": str,
        "parameters": _COUNT,
        "macs": (_COUNT, _NULL),
        "weights_sha256": str,
        "source": str,
        "classes": ([str], _NULL),
        "preprocessing": (
            {
                "channels": _COUNT,
                "height": _COUNT,
                "width": _COUNT,
                "mean": [float],
                "std": [float],
            },
            _NULL,
        ),
    },
    "backend": str,
    "precision": str,
    "device": str,
    "target": {"name": str, "cpuid": [str]},
    "inputs": [{**_TENSOR, "layout": str, "shape": [_COUNT]}],
    "outputs": [{**_TENSOR, "shape": [_COUNT]}],
    "programs": [{"file": str, "batch": [_COUNT], "entry": (str, _NULL)}],
    "requirements": {
        "torch": (str, _NULL),
        "isa": [str],
        "gpu_arch": (str, _NULL),
        "cuda": (str, _NULL),
        "tensorrt": (str, _NULL),
        "load_first": [str],
    },
    "files": dict,
    "parity": {
        "oracle": str,
        "tf32": bool,
        "k": float,
        "samples": [
            {
                "kind": str,
                "e_eager": float,
                "floor": float,
                "bound": float,
                "rmse": (float, _NULL),
            }
        ],
        "top1": {"decided": _COUNT, "agreed": _COUNT},
        "max_abs": (float, _NULL),
        "sqnr_db": (float, _NULL),
        "gates": [{"name": str, "value": (float, _NULL), "bound": (float, _NULL), "passed": bool}],
        "ran_in": [str],
    },
    "determinism": (
        {"calls": _COUNT, "loads": _COUNT, "threads": _COUNT, "bit_identical": bool},
        _NULL,
    ),
    "nonfinite": ({"nan": str, "inf": str}, _NULL),
    "evidence": (dict, _NULL),
    "build": {
        "command": str,
        "seconds": float,
        "commit": str,
        "host": str,
        "date": str,
        "versions": dict,
        "request": dict,
    },
}
"""Every field and its form: a type, a list of one form, an object, or a tuple of alternatives."""

LATER: dict[str, dict[str, Any]] = {
    "parity": {"skipped_samples": [{"kind": str, "reason": str}]},
    "determinism": {"runners": _COUNT, "runners_identical": (bool, _NULL)},
}
"""Fields that came with a later minor schema: they may be absent."""


def read_manifest(folder: Path) -> Manifest:
    """Steps 1 to 3 of opening an artifact: hash, JSON, schema, fields, file names.

    Raises BadArtifact with what is wrong and what to run.
    """
    try:
        expected = (folder / MANIFEST_HASH).read_bytes()
        with (folder / MANIFEST).open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except PermissionError as error:
        raise Unavailable(f"{error.filename} may not be read: check its permissions") from None
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
        depth = _depth(manifest)
    except (ValueError, RecursionError) as error:
        raise BadArtifact(f"{where} is not JSON: {error}") from None
    if not isinstance(manifest, dict) or depth > MAX_DEPTH:
        raise BadArtifact(f"{where} is not a JSON object of at most {MAX_DEPTH} levels")
    return manifest


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _check_fields(manifest: Manifest, where: Path) -> None:
    def fail(what: str) -> NoReturn:
        raise BadArtifact(f"{where}: {what}; {REBUILD}")

    schema = manifest.get("schema")
    if not re.fullmatch(r"1\.[0-9]{1,6}", schema if isinstance(schema, str) else ""):
        raise BadArtifact(f"{where} has schema {schema!r}; this zoo reads {SCHEMA}")
    wrong = _mismatch(manifest, SHAPE, "")
    for outer, forms in LATER.items():
        inner = manifest[outer] if wrong is None and manifest[outer] is not None else {}
        present = {key: form for key, form in forms.items() if key in inner}
        wrong = wrong or _mismatch(inner, present, outer)
    if wrong is not None:
        fail(f"the field '{wrong}' is missing or has the wrong type")
    if manifest["device"] not in ("cpu", "cuda"):
        fail(f"the device {manifest['device']!r} is neither cpu nor cuda")
    if manifest["parity"]["oracle"] != "float64":
        fail("the oracle is not float64")
    if not re.fullmatch(r"[0-9a-f]{64}", manifest["model"]["weights_sha256"]):
        fail("'model.weights_sha256' is not 64 hex digits")
    if any("/" in name or not name for name in manifest["requirements"]["load_first"]):
        fail("'requirements.load_first' must hold bare file names")
    for path, rank in (("inputs", 3), ("outputs", 1)):
        entries = manifest[path]
        if len(entries) != 1:
            fail(f"'{path}' must hold one tensor")
        if len(entries[0]["shape"]) != rank or not all(
            1 <= size < 2**28 for size in entries[0]["shape"]
        ):
            fail(f"'{path}' has an impossible shape")
    pair = (manifest["inputs"][0]["dtype"], manifest["inputs"][0]["layout"])
    if pair not in (("float32", "NCHW"), ("uint8", "NHWC")):
        fail("the input is neither float32 NCHW nor uint8 NHWC")
    if manifest["outputs"][0]["dtype"] != "float32":
        fail("the output is not float32")
    classes = manifest["model"]["classes"]
    if classes is not None and len(classes) != manifest["outputs"][0]["shape"][0]:
        fail("'model.classes' has another length than the output")
    if not manifest["programs"]:
        fail("'programs' is empty")
    for program in manifest["programs"]:
        batch = program["batch"]
        if len(batch) != 2 or not 1 <= batch[0] <= batch[1] < 2**31:
            fail(f"the program {program['file']!r} has an impossible batch {batch}")
    for sample in manifest["parity"]["samples"]:
        if sample["e_eager"] < 0 or sample["floor"] < 0:
            fail("'parity.samples' holds a negative error")
    if not ROWS <= len(manifest["parity"]["samples"]) <= MAX_ROWS:
        fail(f"'parity.samples' must hold {ROWS} to {MAX_ROWS} entries")
    if manifest["parity"]["k"] < 0:
        fail("'parity.k' is negative")
    if manifest["target"]["cpuid"] != manifest["requirements"]["isa"]:
        fail("'requirements.isa' must equal 'target.cpuid'")
    for name, entry in manifest["files"].items():
        check_relative(name, str(where))
        wrong = _mismatch(entry, {"size": int, "sha256": str}, f"files.{name}")
        if wrong is not None or not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]):
            fail(f"files['{name}'] has no size and sha256")
    for name in (GOLDEN, *(program["file"] for program in manifest["programs"])):
        if name not in manifest["files"]:
            fail(f"it uses {name}, but lists no hash for it")
    _check_graph(manifest.get("graph"), where)


def _check_graph(entry: Any, where: Path) -> None:
    """The optional entry of the exported graph that a program was compiled from."""
    if entry is None:
        return
    wrong = _mismatch(entry, {"file": str, "size": int, "sha256": str}, "graph")
    if wrong is not None or not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]):
        raise BadArtifact(f"{where}: 'graph' has no file, size and sha256; {REBUILD}")
    check_relative(entry["file"], str(where))


def _mismatch(value: Any, form: Any, path: str) -> str | None:
    """The path of the first place where `value` does not have `form`, or None."""
    if isinstance(form, tuple):
        wrong = [_mismatch(value, each, path) for each in form]
        return None if None in wrong else wrong[0]
    if isinstance(form, list):
        if not isinstance(value, list):
            return path
        found = (_mismatch(entry, form[0], f"{path}[{i}]") for i, entry in enumerate(value))
        return next((wrong for wrong in found if wrong is not None), None)
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return path
        for key, each in form.items():
            inner = f"{path}.{key}" if path else key
            wrong_inner = _mismatch(value[key], each, inner) if key in value else inner
            if wrong_inner is not None:
                return wrong_inner
        return None
    if form is None:
        return None if value is None else path
    allowed = (int, float) if form is float else form
    if isinstance(value, float | int) and not abs(value) < 1e300:  # 1e999 reads as infinity
        return path
    fits = isinstance(value, allowed) and (form is bool or not isinstance(value, bool))
    return None if fits else path
