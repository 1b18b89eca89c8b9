"""Which artifact to take. Only figures of one task, batch and machine are compared."""

from __future__ import annotations

from dataclasses import dataclass

from compile.backends.eager import NAME as EAGER
from compile.page.evidence import Evidence, Measured
from compile.page.fields import mapping, number
from compile.precision import PRECISIONS, REFERENCE

QUANTISED = tuple(name for name, row in PRECISIONS.items() if row.quantised)
"""Precisions whose proof is about the quantised graph, not about the network before it."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Measurements that can be compared with each other, the fastest first."""

    task: str
    batch: int | None
    machine: tuple[str, str, int | None]
    """Host, CPU and threads."""
    rows: tuple[Measured, ...]
    """One for each artifact and document: that of zoo-run, or Python's where there is none."""

    @property
    def title(self) -> str:
        """The task and the batch."""
        return f"{self.task}, batch {'unknown' if self.batch is None else self.batch}"

    @property
    def place(self) -> str:
        """The CPU and its threads."""
        _, cpu, threads = self.machine
        count = "unknown threads" if threads is None else f"{threads} thread{'s' * (threads != 1)}"
        return f"{cpu}, {count}"

    @property
    def eager(self) -> Measured | None:
        """The row that others are compared with: eager in fp32, if its figures are VALID."""
        found = (row for row in self.rows if (row.backend, row.precision) == (EAGER, REFERENCE))
        return next((row for row in found if row.valid), None)

    def times_eager(self, row: Measured) -> float | None:
        """How many times as fast as eager a row is; None unless both are VALID."""
        eager = self.eager
        return eager.median / row.median if eager and row.valid and row.median > 0 else None


def grouped(evidence: Evidence) -> list[Group]:
    """The groups, in the order in which the documents name their tasks."""
    found: dict[tuple[str, int | None, tuple[str, str, int | None]], list[Measured]] = {}
    for one in evidence.measured:
        found.setdefault((one.task, one.batch, one.machine), []).append(one)
    return [
        Group(task=task, batch=batch, machine=machine, rows=_fastest_first(rows))
        for (task, batch, machine), rows in found.items()
    ]


def _fastest_first(measured: list[Measured]) -> tuple[Measured, ...]:
    by_runner = {one.artifact for one in measured if one.place == "zoo-run"}
    rows = [one for one in measured if one.place == "zoo-run" or one.artifact not in by_runner]
    return tuple(sorted(rows, key=lambda row: row.median))


def choice(group: Group, evidence: Evidence) -> Measured | None:
    """The fastest row that is VALID and whose artifact is proved."""
    return next(iter(_choices(group, evidence)), None)


def _choices(group: Group, evidence: Evidence) -> list[Measured]:
    return [row for row in group.rows if row.valid and evidence.is_proved(row.artifact)]


def advice(group: Group, evidence: Evidence) -> list[str]:
    """Which artifact to take, in one sentence, and what else to know about it."""
    best = choice(group, evidence)
    if best is None:
        return [_no_choice(group, evidence)]
    said = [
        f"Take {best.leaf}: {best.median:.3g} ms, the fastest that is VALID and proved."
        if len(group.rows) > 1
        else f"Take {best.leaf}: {best.median:.3g} ms, VALID and proved, and the only one measured."
    ]
    close = [row.leaf for row in group.rows if row is not best and _overlap(best, row, evidence)]
    if close:
        names = " and ".join([", ".join(close[:-1]), close[-1]] if close[:-1] else close)
        said.append(f"The interval of its median meets that of {names}: either may be the faster.")
    faster = [row for row in group.rows if row.median < best.median]
    if faster:
        said.append(f"Passed over: {'; '.join(_flaw(row, evidence) for row in faster)}.")
    if best.precision in QUANTISED:
        cost = _cost(best, evidence)
        said.append(f"Its proof is about the {best.precision} graph; quantisation itself {cost}.")
        others = (r for r in _choices(group, evidence) if r.precision not in QUANTISED)
        said += [f"Not quantised: {r.leaf}, {r.median:.3g} ms." for r in others][:1]
    return said


def _no_choice(group: Group, evidence: Evidence) -> str:
    if not any(row.valid for row in group.rows):
        return (
            "No measurement here is VALID, so there is none to take: measure again on a quiet "
            "machine with `zoo bench --json`."
        )
    if any(evidence.is_proved(row.artifact) is False for row in group.rows if row.valid):
        return "Nothing that is VALID is proved, so there is none to take: see Parity."
    return (
        "These files do not say whether the VALID ones are proved: add the report of "
        "`zoo check --json`."
    )


def _overlap(best: Measured, other: Measured, evidence: Evidence) -> bool:
    """Whether the other could be taken too, and nobody can tell which is the faster."""
    if not (
        other.valid and evidence.is_proved(other.artifact) and best.interval and other.interval
    ):
        return False
    return best.interval[1] >= other.interval[0]


def _flaw(row: Measured, evidence: Evidence) -> str:
    if not row.valid:
        return f"{row.leaf} is INVALID"
    proved = evidence.is_proved(row.artifact)
    return f"{row.leaf} {'has no proof in these files' if proved is None else 'is not proved'}"


def _cost(best: Measured, evidence: Evidence) -> str:
    """What quantisation did to the accuracy, as far as the documents say."""
    counted = mapping(evidence.manifests.get(best.artifact), "quantization", "accuracy")
    before, after = number(counted, "before"), number(counted, "after")
    if before is None or after is None:
        return "may cost accuracy, which these files do not say"
    return f"changed the accuracy from {before:.1f} % to {after:.1f} %"
