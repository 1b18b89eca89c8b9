"""Writes tests/data/manifests: manifests that both readers must take, and ones they must refuse.

    python -m tests.support.make_manifests

Each file is the sound base with one change, so that it can be read next to `sound/base.json`.
forged.json says for each forged file what the refusal must name: the path of the field, or nothing
if the fault lies in the JSON itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compile.artifact.manifest import Manifest
from tests.support import output_manifests
from tests.support.layout import ROOT
from tests.support.manifests import BOUND, FILE, Change, base, both, drop, each_bound, put
from tests.support.output_manifests import MAP, PENDING

FOLDER = ROOT / "tests" / "data" / "manifests"


def _nested(levels: int) -> Any:
    return [_nested(levels - 1)] if levels else []


def _rows(count: int) -> Change:
    return both(
        put("parity/samples", [{"kind": "real"}] * count),
        put("parity/outputs/0/bounds", [BOUND] * count),
    )


def _named(name: str) -> Change:
    """One file more, of this name."""
    return lambda manifest: manifest["files"].update({name: FILE})


_BYTES = {"name": "input", "dtype": "uint8", "layout": "NHWC", "shape": [2, 2, 1]}
_UNPASSED = {"name": "constants", "value": None, "bound": 1.0, "passed": False}
_MANY = [
    {"file": "model.ts", "batch": [1, 1], "entry": "one"},
    {"file": "model.ts", "batch": [1, 64], "entry": "many"},
]

SOUND: dict[str, Change] = {
    **output_manifests.SOUND,
    "base": lambda manifest: None,
    "accepted-agrees-on-fewer": both(
        put("status", "accepted"), put("parity/outputs/0/top1/agreed", 13)
    ),
    "accepted-beyond-its-bound": both(put("status", "accepted"), each_bound(rmse=1.0)),
    "accepted-gate-not-passed": both(put("status", "accepted"), put("parity/gates/0", _UNPASSED)),
    "accepted-rmse-unknown": both(put("status", "accepted"), each_bound(rmse=None)),
    "backend-of-a-later-zoo": put("backend", "of a later zoo"),
    "backend-tensorrt": put("backend", "tensorrt"),
    "bound-of-zero": each_bound(e_eager=0, floor=0.0, bound=0, rmse=0),
    "bound-rounded": each_bound(bound=1.2000001e-06),
    "bytes-in": put("inputs/0", _BYTES),
    "classes-null": put("outputs/0/classes", None),
    "classes-unknown": drop("outputs/0/classes"),
    "cuda": both(put("device", "cuda"), put("requirements/gpu_arch", "sm_90")),
    "cuda-and-newer": both(put("device", "cuda"), put("requirements/gpu_arch", "sm_120+")),
    "cuda-of-three": both(
        put("device", "cuda"), put("requirements/gpu_arch", "sm_86,sm_89,sm_120")
    ),
    "depth-32": put("extra", _nested(30)),
    "everything-null": both(
        *(put(name, None) for name in ("determinism", "nonfinite", "graph", "quantization")),
        *(put(f"model/{name}", None) for name in ("macs", "preprocessing")),
        *(put(f"requirements/{name}", None) for name in ("torch", "cuda", "tensorrt")),
        *(put(f"parity/outputs/0/{name}", None) for name in ("max_abs", "sqnr_db")),
    ),
    "integer-for-a-number": put("parity/k", 2),
    "minor-999999": put("schema", "2.999999"),
    "pending": PENDING,
    "programs-overlap": put("programs", _MANY),
    "samples-16": _rows(16),
    "samples-64": _rows(64),
    "text-in-any-script": put("model/source", "\u6a21\u578b \U0001f600"),
    "unknown-keys": both(put("new", {"deep": [1, 2]}), put("parity/gates/0/worst", "conv1.weight")),
}
"""Name -> what is changed in the base."""

_TWO = [{"name": "logits", "dtype": "float32", "shape": [3]}] * 2

FORGED: dict[str, tuple[Change, str]] = {
    **output_manifests.FORGED,
    **{f"missing-{key}": (drop(key), f"{key} is missing") for key in base()},
    "accepted-nothing-failed": (put("status", "accepted"), "status"),
    "agreed-above-decided": (
        both(put("status", "accepted"), put("parity/outputs/0/top1/agreed", 15)),
        "parity.outputs[0].top1",
    ),
    **{
        f"backend-{name}-over-a-ts": (put("backend", name), "programs[0].file")
        for name in (
            "eager",
            "torch-compile",
            "inductor",
            "onnx",
            "openvino",
            "tensorrt-plan",
            "tensorrt-rtx",
        )
    },
    "backend-torchscript-over-a-pt2": (
        both(_named("model.pt2"), put("programs/0/file", "model.pt2")),
        "programs[0].file",
    ),
    "batch-2-to-the-21": (put("programs/0/batch", [1, 2**21]), "programs[0].batch[1]"),
    "batch-min-above-max": (put("programs/0/batch", [4, 2]), "programs[0].batch"),
    "batch-of-three": (put("programs/0/batch", [1, 2, 3]), "programs[0].batch"),
    "batch-zero": (put("programs/0/batch", [0, 2]), "programs[0].batch[0]"),
    "bound-another": (each_bound(bound=1.3e-06), "parity.outputs[0].bounds[0].bound"),
    "bound-below-zero": (each_bound(bound=-1.0), "parity.outputs[0].bounds[0].bound"),
    "bounds-too-few": (
        put("parity/samples", [{"kind": "real"}] * 17),
        "parity.outputs[0].bounds",
    ),
    "classes-too-few": (put("outputs/0/classes", ["a", "b"]), "outputs[0].classes"),
    "decided-17-of-16": (
        put("parity/outputs/0/top1", {"decided": 17, "agreed": 17}),
        "parity.outputs[0].top1",
    ),
    "decided-999": (put("parity/outputs/0/top1/decided", 999), "parity.outputs[0].top1.decided"),
    "determinism-without-runners": (drop("determinism/runners"), "determinism.runners is missing"),
    "device-tpu": (put("device", "tpu"), "device"),
    "exponent-for-an-integer": (put("model/parameters", 1e22), "model.parameters"),
    "file-name-absolute": (_named("/etc/passwd"), "files"),
    "file-name-backslash": (_named("a\\b"), "files"),
    "file-name-control": (_named("a\nb"), "files"),
    "file-name-dot": (put("programs/0/file", "./model.ts"), "files"),
    "file-name-empty": (_named(""), "files"),
    "file-sha256-short": (put("files/model.ts/sha256", 63 * "0"), "files.model.ts.sha256"),
    "file-sha256-uppercase": (put("files/model.ts/sha256", 64 * "A"), "files.model.ts.sha256"),
    "file-size-below-zero": (put("files/model.ts/size", -1), "files.model.ts.size"),
    "files-without-golden": (drop("files/golden.safetensors"), "files"),
    "files-without-program": (drop("files/model.ts"), "files"),
    "floor-below-zero": (each_bound(floor=-1e-06), "parity.outputs[0].bounds[0].floor"),
    "gate-passed-is-a-number": (put("parity/gates/0/passed", 1), "parity.gates[0].passed"),
    "gpu-arch-in-words": (
        both(put("device", "cuda"), put("requirements/gpu_arch", "hopper")),
        "requirements.gpu_arch",
    ),
    **{
        f"gpu-arch-{name}": (
            both(put("device", "cuda"), put("requirements/gpu_arch", value)),
            "requirements.gpu_arch",
        )
        for name, value in (
            ("list-ends-early", "sm_86,"),
            ("list-with-a-space", "sm_86, sm_89"),
            ("list-and-newer", "sm_86,sm_89+"),
            ("list-too-long", ",".join(["sm_120"] * 10)),
        )
    },
    "gpu-arch-on-cpu": (put("requirements/gpu_arch", "sm_90"), "requirements.gpu_arch"),
    "graph-among-files": (put("graph/file", "model.ts"), "graph.file"),
    "graph-outside": (put("graph/file", "../graph.pt2"), "graph.file"),
    "input-layout-another": (put("inputs/0/layout", "NHWC"), "inputs[0].layout"),
    "input-of-2-to-the-60-values": (put("inputs/0/shape", 3 * [2**20]), "inputs[0].shape"),
    "input-of-two-dimensions": (put("inputs/0/shape", [2, 8]), "inputs[0].shape"),
    "inputs-two": (lambda m: m["inputs"].append(m["inputs"][0]), "inputs"),
    "isa-another-than-cpuid": (put("requirements/isa", []), "requirements.isa"),
    "k-below-one": (put("parity/k", 0.5), "parity.k"),
    "k-in-words": (put("parity/k", "2"), "parity.k"),
    "k-of-400000": (put("parity/k", 4e5), "parity.k"),
    "k-true": (put("parity/k", True), "parity.k"),
    "load-first-a-path": (put("requirements/load_first", ["a/b.so"]), "requirements.load_first[0]"),
    "load-first-dot-dot": (put("requirements/load_first", [".."]), "requirements.load_first[0]"),
    "mean-of-words": (put("model/preprocessing/mean", ["0"]), "model.preprocessing.mean[0]"),
    "model-name-empty": (put("model/name", ""), "model.name"),
    "nonfinite-in-other-words": (put("nonfinite/nan", "explodes"), "nonfinite.nan"),
    "number-for-an-integer": (put("model/parameters", 12.0), "model.parameters"),
    "output-of-2-to-the-40-values": (
        both(
            put("outputs/0", {**MAP, "shape": [2**20, 2**20]}), put("parity/outputs/0/top1", None)
        ),
        "outputs[0].shape",
    ),
    "outputs-of-one-name": (put("outputs", _TWO), "outputs[1].name"),
    "parameters-below-zero": (put("model/parameters", -5), "model.parameters"),
    "parameters-beyond-a-double": (put("model/parameters", 2**60), "model.parameters"),
    "parity-of-another-output": (put("parity/outputs/0/name", "other"), "parity.outputs"),
    "pending-but-measured": (put("status", "pending"), "status"),
    "pending-but-decided": (both(PENDING, put("parity/outputs/0/top1/decided", 3)), "status"),
    "pending-but-a-gate-failed": (both(PENDING, put("parity/gates/0", _UNPASSED)), "status"),
    "pending-but-ran": (both(PENDING, put("parity/ran_in", ["python"])), "status"),
    "precision-fp99": (put("precision", "fp99"), "precision"),
    "programs-none": (put("programs", []), "programs"),
    "proved-agrees-on-fewer": (put("parity/outputs/0/top1/agreed", 13), "status"),
    "proved-beyond-its-bound": (each_bound(rmse=1.3e-06), "status"),
    "proved-gate-not-passed": (put("parity/gates/0", _UNPASSED), "status"),
    "proved-rmse-unknown": (each_bound(rmse=None), "status"),
    "samples-15": (_rows(15), "parity.samples"),
    "samples-65": (_rows(65), "parity.samples"),
    "schema-1.2": (put("schema", "1.2"), "schema"),
    "schema-1.9999999": (put("schema", "1.9999999"), "schema"),
    "schema-2": (put("schema", "2"), "schema"),
    "schema-2.9999999": (put("schema", "2.9999999"), "schema"),
    "schema-3.0": (put("schema", "3.0"), "schema"),
    "schema-a-number": (put("schema", 2.0), "schema"),
    "status-unknown": (put("status", "trusted"), "status"),
    "top1-null-of-classes": (put("parity/outputs/0/top1", None), "parity.outputs[0].top1"),
    "true-for-an-integer": (put("programs/0/batch", [True, 1]), "programs[0].batch[0]"),
}
"""Name -> what is changed in the base, and the field that both readers must name."""


def _extra(text: str) -> Callable[[bytes], bytes]:
    """The manifest with this text in front of its first key."""
    return lambda manifest: manifest.replace(b"{", b"{" + text.encode(), 1)


TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "json-byte-order-mark": lambda text: b"\xef\xbb\xbf" + text,
    "json-depth-33": _extra('"extra": ' + 32 * "[" + 32 * "]" + ","),
    "json-depth-500": _extra('"extra": ' + 500 * "[" + 500 * "]" + ","),
    "json-empty": lambda text: b"",
    "json-half-a-surrogate-pair": _extra('"extra": "\\ud800",'),
    "json-infinity": _extra('"extra": -Infinity,'),
    "json-integer-beyond-a-double": _extra('"extra": ' + "9" * 400 + ","),
    "json-key-twice": _extra('"schema": "2.0",'),
    "json-key-twice-escaped": _extra('"\\u0073chema": "2.0",'),
    "json-key-twice-inside": _extra('"extra": [{"a": 1, "a": 1}],'),
    "json-list": lambda text: b"[" + text + b"]",
    "json-nan": _extra('"extra": NaN,'),
    "json-not-utf8": lambda text: text.replace(b"fresh", b"fr\xffsh"),
    "json-number-beyond-a-double": _extra('"extra": 1e999,'),
    "json-text-after-the-end": lambda text: text + b"x",
    "json-truncated": lambda text: text[:-20],
    "json-zero-byte-behind-the-end": lambda text: text + b"\0{}",
}
"""Name -> what is changed in the text of the base; no field is named."""


def as_text(manifest: Manifest) -> bytes:
    """One line for each field at the top, so that a file is short and its change easy to see."""
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in manifest.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def changed(change: Change) -> Manifest:
    """The base with a change."""
    manifest = base()
    change(manifest)
    return manifest


def files() -> dict[str, bytes]:
    """Every file of the corpus: its path below FOLDER, and its bytes."""
    sound = {f"sound/{name}.json": as_text(changed(change)) for name, change in SOUND.items()}
    forged = {f"forged/{name}.json": as_text(changed(row[0])) for name, row in FORGED.items()}
    texts = {f"forged/{name}.json": change(as_text(base())) for name, change in TEXTS.items()}
    named = {f"{name}.json": row[1] for name, row in FORGED.items()}
    named |= {f"{name}.json": "" for name in TEXTS}
    index = (json.dumps(named, indent=1, sort_keys=True) + "\n").encode()
    return {**sound, **forged, **texts, "forged.json": index}


def write(folder: Path, content: dict[str, bytes]) -> None:
    """Make `content` all that `folder` holds."""
    for path in [each for each in folder.rglob("*") if each.is_file()]:
        path.unlink()
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    write(FOLDER, files())
