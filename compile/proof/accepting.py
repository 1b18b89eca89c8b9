"""When a proof fails: how much error may be published on purpose, and what to run next."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from compile.backends.base import Backend
from compile.errors import UsageError

_OF_THE_PRECISION = {"quantisation noise", "accuracy budget"}
"""Gates that no backend fails: PyTorch's own graph on the grid is too far from the network."""
_LARGEST_FACTOR = 100
"""A program that is further off is not worth a factor: only `any` takes it."""


def largest_error(accept_error: bool | float) -> float:
    """How many times its bound an error may be: none for False, any for True, else the number.

    Raises UsageError for a number of 1 or less, and for anything else.
    """
    if isinstance(accept_error, bool):
        return math.inf if accept_error else 0.0
    if isinstance(accept_error, int | float) and accept_error > 1:  # False for NaN
        return float(accept_error)
    raise UsageError(
        f"accept_error={accept_error!r} does not say how much; give True, False, or how many times "
        "its bound an error may be, such as 3"
    )


def is_accepted(parity: dict[str, Any], largest: float) -> bool:
    """Whether a failed proof, as the manifest has it, is off by at most `largest` times a bound.

    A number takes errors alone. Only infinity takes another class, a value that is not finite and
    a gate without a bound to multiply.
    """
    if math.isinf(largest):
        return True
    outputs, gates = parity["outputs"], parity["gates"]
    rows = [row for output in outputs for row in output["bounds"]]
    tops = [output["top1"] for output in outputs if output["top1"] is not None]
    parts = [output["channels"]["ratio"] for output in outputs if output["channels"] is not None]
    return (
        all(top["agreed"] == top["decided"] for top in tops)
        and all(_at_most(row["rmse"], largest * row["bound"]) for row in rows)
        and all(_at_most(ratio, largest) for ratio in parts)
        and all(gate["passed"] or _is_near(gate, largest) for gate in gates)
    )


def _is_near(gate: dict[str, Any], largest: float) -> bool:
    """Whether a failed gate is over its bound, by at most `largest` times."""
    over = gate["bound"] > 0 and gate["value"] is not None and gate["value"] > gate["bound"]
    return over and _at_most(gate["value"], largest * gate["bound"])


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def next_step(backend: Backend, folder: Path, parity: dict[str, Any]) -> str:
    """What finds the layer: the artifact has to be published for that, although it failed.

    No layer of the program is at fault if the precision itself costs too much.
    """
    factors = [
        row["rmse"] / row["bound"]
        for output in parity["outputs"]
        for row in output["bounds"]
        if row["rmse"] is not None and row["bound"]
    ]
    factors += [
        output["channels"]["ratio"]
        for output in parity["outputs"]
        if output["channels"] is not None and output["channels"]["ratio"] is not None
    ]
    factor = max(2, *map(math.ceil, factors))
    fits = factor <= _LARGEST_FACTOR and is_accepted(parity, factor)
    given = f"{factor}x" if fits else "any"
    publish = f"`--accept-error {given}` publishes it all the same"
    failed = {gate["name"] for gate in parity["gates"] if not gate["passed"]}
    if failed & _OF_THE_PRECISION and is_accepted({**parity, "gates": []}, 1.0):
        return (
            "this precision moves the outputs too far, whatever the backend: give --calibrate "
            f"images like its inputs, or take another --precision; {publish}"
        )
    if backend.open_taps is None:
        return publish
    return f"{publish}, and then `zoo bisect {shlex.quote(str(folder))}` names the layer"
