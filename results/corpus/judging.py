"""What a row means: is it right that the network passed, or that it was refused?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from compile.precision import precision
from results.corpus.jobs import WAYS
from tests.networks import NETWORKS

Row = dict[str, Any]

RIGHT, FALSE_ACCEPT, FALSE_REFUSAL = "right", "false accept", "false refusal"
NOT_BUILT, BROKE, TOO_COARSE = "not built", "broke", "too coarse"

_OF_THE_PRECISION = ("gate 'quantisation noise'", "gate 'a clear sample'")
"""What a quantised network fails before any backend has computed: PyTorch's own graph on the grid
is too far from the network, or so far that no class is clear."""

FAULTY = Path(__file__).with_name("faulty.json")
"""Part, network, seed and backend -> the network of part a that has the same fault of the backend,
and nothing else."""


def truth(row: Row) -> str:
    """`sound`, `refuse` or `either`.

    Networks that nobody made wrong on purpose are sound, unless the backend has a known fault.
    """
    if row["part"] != "a":
        return "refuse" if same_fault(row) else "sound"
    return NETWORKS[row["network"]].truth_for(row["backend"], row["precision"])


def same_fault(row: Row) -> str | None:
    """The network of part a that has the fault which this row shows, if one is known."""
    return _faulty().get(
        " ".join(str(row[name]) for name in ("part", "network", "seed", "backend"))
    )


@cache
def _faulty() -> dict[str, str]:
    return json.loads(FAULTY.read_text())


def judged(row: Row) -> str:
    """One of the words above.

    A backend may say in one line that it cannot build a network. That is neither a right answer nor
    a wrong one, so it is counted as NOT_BUILT. Neither is TOO_COARSE: the grid of a quantised
    precision costs a network more than is allowed, whatever the backend. A row that crashed, hung
    or raised something unexpected is counted as BROKE.
    """
    expected = truth(row)
    if row["built"] == "error":
        return BROKE
    if row["built"] == "passed":
        return FALSE_ACCEPT if expected == "refuse" else RIGHT
    if expected != "sound" or str(row.get("truth", "")).startswith("the exporter is wrong"):
        return RIGHT
    if precision(row["precision"]).quantised and _fails_by_itself(row["failures"]):
        return TOO_COARSE
    return NOT_BUILT if row["stage"] == "build" else FALSE_REFUSAL


def _fails_by_itself(failures: list[str]) -> bool:
    return bool(failures) and all(each.startswith(_OF_THE_PRECISION) for each in failures)


def counted(rows: Iterable[Row]) -> Counter[tuple[str, str]]:
    """How many rows there are of each (truth, judgement); PyTorch's own rows are left out."""
    return Counter((truth(row), judged(row)) for row in rows if row["backend"] != WAYS)
