"""How large the files of an artifact are, and figures of one column that stand under each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from compile.artifact.manifest import GOLDEN
from compile.page.evidence import Evidence, Measured
from compile.page.fields import mapping, positive
from compile.page.markup import MISSING


def file_bytes(row: Measured, evidence: Evidence) -> float | None:
    """The bytes that a program needs on disk; None if no document says."""
    said = positive(row.report, "file_bytes")
    files = mapping(evidence.manifests.get(row.artifact), "files")
    if said is not None or not files:
        return said
    return sum(positive(entry, "size") or 0 for name, entry in files.items() if name != GOLDEN)


def aligned(values: Sequence[float | None], digits: int = 3) -> list[str]:
    """The values with the same number of decimals: enough for `digits` of the smallest.

    At most three decimals, or four where the smallest is below 0.01.
    """
    known = [abs(value) for value in values if value]
    smallest = min(known, default=1.0)
    most = 4 if smallest < 0.01 else 3
    decimals = min(most, max(0, digits - 1 - math.floor(math.log10(smallest))))
    return [MISSING if value is None else f"{value:,.{decimals}f}" for value in values]
