"""What tables call an artifact: its backend, precision and batch, and what else is special."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest


def traits(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """Artifact -> target or GPUs, `u8`, input size, `portable` and outputs; "" for a plain one.

    A target and outputs are named if they were asked for, and a size if the artifacts of a model
    differ in it.
    """
    from compile.artifact.reading import input_of

    sizes = {name: "x".join(map(str, input_of(each).chw)) for name, each in manifests.items()}
    found = {}
    for name, manifest in manifests.items():
        model, request = name.split("/")[0], manifest["build"]["request"]
        others = {size for other, size in sizes.items() if other.split("/")[0] == model}
        outputs = "+".join(output["name"] for output in manifest["outputs"])
        said = {
            manifest["target"]["name"]: request.get("named_level") is True,
            "-".join(request.get("gpus") or ()): bool(request.get("gpus")),
            "u8": manifest["inputs"][0]["dtype"] == "uint8",
            sizes[name]: len(others) > 1,
            "portable": request.get("portable") is True,
            outputs: bool(request.get("outputs")),
        }
        found[name] = "-".join(word for word, holds in said.items() if holds)
    return found


def batch_of(manifest: Manifest, measured: int) -> str:
    """`b1`; `b1 of 1-64` for an artifact that answers a range of batches."""
    ends = [end for program in manifest["programs"] for end in program["batch"]]
    low, high = min(ends), max(ends)
    return f"b{measured}" if low == high else f"b{measured} of {low}-{high}"


def batched(shape: Sequence[int]) -> str:
    """The shape of a batch: `N x 3x32x32`; `N` for one number for each sample."""
    return f"N x {'x'.join(map(str, shape))}" if shape else "N"


def broken(text: str, width: int) -> list[str]:
    """Lines of `width` characters at most, broken after `-` and `+` if there are any."""
    lines = [""]
    for piece in re.findall(rf"[^-+]{{1,{width - 1}}}[-+]?|[-+]", text):
        if len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return [line for line in lines if line]
