"""A manifest that keeps the contract, and the means to change it one field at a time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import reduce
from typing import Any

from compile.artifact.manifest import Manifest

ROWS = 16
Change = Callable[[Manifest], object]

BOUND = {"e_eager": 1e-07, "floor": 1e-06, "bound": 1.2e-06, "rmse": 1e-08}
FILE = {"size": 100, "sha256": 64 * "0"}
_MODEL = {
    "name": "tiny",
    "parameters": 12,
    "macs": 12,
    "weights_sha256": 64 * "1",
    "source": "fresh:seed=0",
    "preprocessing": {"channels": 1, "height": 2, "width": 2, "mean": [0.5], "std": [0.25]},
}
_REQUIREMENTS = {"torch": "2.13.0", "isa": ["avx2"], "gpu_arch": None, "cuda": None}
_BUILD = {"command": "zoo compile", "seconds": 1.5, "commit": "unknown", "host": "here"}


def base() -> Manifest:
    """A manifest that keeps every rule: a TorchScript network (N, 1, 2, 2) -> (N, 3)."""
    kinds = ["real"] * 8 + ["normal"] * 8
    output = {"name": "logits", "positions": None, "bounds": [BOUND] * ROWS, "channels": None}
    output["top1"] = {"decided": 14, "agreed": 14}
    manifest = {
        "schema": "2.0",
        "status": "proved",
        "model": _MODEL,
        "backend": "torchscript",
        "precision": "fp32",
        "device": "cpu",
        "target": {"name": "any", "cpuid": ["avx2"]},
        "inputs": [{"name": "input", "dtype": "float32", "layout": "NCHW", "shape": [1, 2, 2]}],
        "outputs": [
            {"name": "logits", "dtype": "float32", "shape": [3], "classes": ["a", "b", "c"]}
        ],
        "programs": [{"file": "model.ts", "batch": [1, 8], "entry": None}],
        "requirements": {**_REQUIREMENTS, "tensorrt": None, "load_first": ["libm.so.6"]},
        "quantization": None,
        "files": {"golden.safetensors": FILE, "model.ts": FILE},
        "graph": {"file": "graph.pt2", **FILE},
        "parity": {
            "oracle": "float64",
            "reference": "module",
            "tf32": False,
            "k": 2.0,
            "samples": [{"kind": kind} for kind in kinds],
            "skipped_samples": [{"kind": "large", "reason": "it overflows"}],
            "outputs": [{**output, "max_abs": 1e-07, "sqnr_db": 130.0}],
            "gates": [{"name": "constants", "value": 0.5, "bound": 1.0, "passed": True}],
            "skipped_gates": [{"name": "accuracy budget", "reason": "no labels"}],
            "ran_in": ["python", "zoo-run"],
        },
        "determinism": {
            "calls": 100,
            "loads": 3,
            "threads": 2,
            "bit_identical": True,
            "runners": 2,
            "runners_identical": True,
        },
        "nonfinite": {"nan": "propagates", "inf": "absorbs"},
        "evidence": None,
        "build": {**_BUILD, "date": "2026-01-01T00:00:00Z", "versions": {}, "request": {}},
    }
    return json.loads(json.dumps(manifest))


def put(path: str, value: object) -> Change:
    """Set the field at `path`, such as `programs/0/batch`."""

    def change(manifest: Manifest) -> None:
        holder, key = _holder(manifest, path)
        holder[key] = copy.deepcopy(value)

    return change


def drop(path: str) -> Change:
    """Remove the field at `path`."""

    def change(manifest: Manifest) -> None:
        holder, key = _holder(manifest, path)
        del holder[key]

    return change


def both(*changes: Change) -> Change:
    """Make several changes that belong together."""
    return lambda manifest: [change(manifest) for change in changes]


def each_bound(**fields: object) -> Change:
    """Change these fields in the bounds of every sample."""
    return put("parity/outputs/0/bounds", [{**BOUND, **fields}] * ROWS)


def _holder(manifest: Manifest, path: str) -> tuple[Any, Any]:
    """The object or list that holds the field, and its key or index there."""
    *outer, last = (int(part) if part.isdigit() else part for part in path.split("/"))
    return reduce(lambda value, key: value[key], outer, manifest), last
