"""Writes tests/data/tensors/golden: one sound golden.safetensors, and ones that lie.

All of them belong to tests/data/manifests/sound/outputs-of-any-shape.json. make_tensors writes
them. forged.json says for each forged file which tensor the refusal must name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.manifests import ROWS
from tests.support.tensor_bytes import entry, safetensors

Tensors = dict[str, np.ndarray[Any, Any]]
Change = Callable[[Tensors], object]


def base() -> Tensors:
    """What the manifest wants: small values, and in `tokens` the first and the last position."""
    return {
        "inputs/input": np.zeros((ROWS, 1, 2, 2), np.float32),
        "oracle/logits": np.zeros((ROWS, 3)),
        "oracle/map": np.zeros((ROWS, 10)),
        "positions/map": np.array([0, 1, 2, 5, 6, 20, 30, 31, 40, 47]),
        "e_eager/map": np.full((ROWS, 3, 2), 1e-07),
        "oracle/embedding": np.zeros((ROWS, 5)),
        "oracle/number": np.zeros(ROWS),
        "oracle/tokens": np.zeros((ROWS, 12)),
        "positions/tokens": np.array([*range(11), 15]),
        "e_eager/tokens": np.zeros((ROWS, 8, 2)),
    }


def _put(name: str, index: tuple[int, ...], value: float) -> Change:
    """Change one value."""
    return lambda tensors: tensors[name].__setitem__(index, value)


def _rename(name: str, new: str) -> Change:
    return lambda tensors: tensors.update({new: tensors.pop(name)})


def _replace(name: str, value: np.ndarray[Any, Any]) -> Change:
    return lambda tensors: tensors.update({name: value})


FORGED: dict[str, tuple[Change, str]] = {
    "e-eager-below-zero": (_put("e_eager/map", (15, 2, 1), -1e-300), "e_eager/map"),
    "e-eager-infinite": (_put("e_eager/map", (0, 0, 0), np.inf), "e_eager/map"),
    "e-eager-missing": (lambda tensors: tensors.pop("e_eager/map"), "e_eager/map"),
    "e-eager-of-a-vector": (_replace("e_eager/embedding", np.zeros((ROWS, 5, 2))), "embedding"),
    "e-eager-of-another-shape": (_replace("e_eager/map", np.zeros((ROWS, 2, 3))), "e_eager/map"),
    "oracle-nan": (_put("oracle/number", (15,), np.nan), "oracle/number"),
    "oracle-of-all-values": (_replace("oracle/map", np.zeros((ROWS, 3, 4, 4))), "oracle/map"),
    "oracle-renamed": (_rename("oracle/embedding", "oracle/embeddinG"), "oracle/embedding"),
    "positions-backwards": (_put("positions/map", (5,), 4), "positions/map"),
    "positions-below-zero": (_put("positions/map", (0,), -1), "positions/map"),
    "positions-beyond-the-sample": (_put("positions/map", (9,), 48), "positions/map"),
    "positions-float64": (_replace("positions/map", np.arange(10.0)), "positions/map"),
    "positions-missing": (lambda tensors: tensors.pop("positions/tokens"), "positions/tokens"),
    "positions-of-a-full-output": (_replace("positions/number", np.arange(1)), "positions/number"),
    "positions-twice": (_put("positions/map", (3,), 2), "positions/map"),
    "positions-wrap-around": (_put("positions/tokens", (11,), -(2**63)), "positions/tokens"),
}
"""Name -> what is changed in the base, and the tensor that both readers must name."""


_DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64"}


def _bytes_of(tensors: Tensors) -> bytes:
    entries, data = {}, b""
    for name, array in tensors.items():
        begin, data = len(data), data + array.tobytes()
        entries[name] = entry(_DTYPES[array.dtype.name], [*array.shape], begin, len(data))
    return safetensors(entries, data)


def files() -> dict[str, bytes]:
    """The files by their paths below tests/data/tensors."""
    made = {"golden/sound/any-shape.safetensors": _bytes_of(base())}
    for name, (change, _) in FORGED.items():
        tensors = base()
        change(tensors)
        made[f"golden/forged/{name}.safetensors"] = _bytes_of(tensors)
    named = {f"{name}.safetensors": part for name, (_, part) in FORGED.items()}
    made["golden/forged.json"] = (json.dumps(named, indent=1, sort_keys=True) + "\n").encode()
    return made
