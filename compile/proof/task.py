"""The task of one build: what the backend is given, and what its result is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from compile.proof.forms import Weight
from compile.proof.gates import Gate
from compile.proof.golden import Bounds, Golden


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one build is given, and what its result is held to."""

    module: nn.Module
    """What the backend compiles; the backend may change it."""
    golden: Golden
    """The samples, and the right answers to them."""
    bounds: Bounds
    """How wrong the program may be on each sample."""
    weights: list[Weight]
    """What the file must hold, before it is rounded to the precision."""
    gates: list[Gate]
    """Those that need no file, judged already."""
    skipped: list[dict[str, str]]
    """Gates that cannot be judged: `name` and `reason` of each."""
    quantization: dict[str, Any] | None
    """The manifest's entry, for quantised precisions."""
