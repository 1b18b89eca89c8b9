"""Parity: each artifact and place against each output and gate, in words and in colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from compile.page.evidence import Evidence
from compile.page.markup import (
    MISSING,
    Cell,
    Column,
    Content,
    Markup,
    breakable,
    items,
    join,
    sentence,
    table,
    tag,
)
from compile.page.naming import leaf_of, task_of
from compile.page.proofs import Judged, Proof
from compile.report import short

_WIDE = 6
"""Columns beside the name of the artifact that fit on a printed page; more make another table."""


def matrix(evidence: Evidence) -> Markup:
    """The matrix of each task: outputs, then gates; what failed, and what was not tried."""
    if not evidence.proofs:
        return sentence(
            "There is no proof in these files. Add the report of `zoo check --json`, or the "
            "manifests."
        )
    parts: list[Content] = [
        sentence(
            "Error over bound: at most 1 passes. The bound is a small multiple of how wrong the "
            "network itself is at that precision, against the same network in float64.",
            "note",
        )
    ]
    for task in dict.fromkeys(task_of(proof.artifact) for proof in evidence.proofs):
        proofs = _by_artifact(evidence, task)
        parts += _tables(
            f"{task}: outputs, error / bound", proofs, lambda proof: proof.outputs, verdicts=True
        )
        gated = {proof.artifact: proof for proof in reversed(proofs) if proof.gates}
        parts += _tables(
            f"{task}: gates when built, at most 1 or what is named",
            [*reversed(gated.values())],
            lambda proof: proof.gates,
        )
    return join([*parts, _remarks(evidence)])


def _by_artifact(evidence: Evidence, task: str) -> list[Proof]:
    """The proofs of a task; those of one artifact stand together."""
    names = [name for name in evidence.names() if task_of(name) == task]
    return [proof for name in names for proof in evidence.proofs_for(name)]


def _tables(
    caption: str,
    proofs: Sequence[Proof],
    judged: Callable[[Proof], tuple[Judged, ...]],
    *,
    verdicts: bool = False,
) -> Iterator[Markup]:
    """A row for each proof, a column for each name, in as many tables as a printed page needs."""
    names = list(dict.fromkeys(each.name for proof in proofs for each in judged(proof)))
    columns = [Column(name="artifact", words=True)]
    columns += [Column(name=name, words=True) for name in ("ran in", "verdict") if verdicts]
    for start in range(0, len(names), _WIDE):
        shown = names[start : start + _WIDE]
        rows: list[list[Content | Cell]] = []
        for proof in proofs:
            found = {each.name: each for each in judged(proof)}
            ran: list[Content | Cell] = [proof.place, _verdict(proof.passed)] if verdicts else []
            cells = [_cell(found.get(name)) for name in shown]
            rows.append([breakable(leaf_of(proof.artifact)), *ran, *cells])
        here = caption if start == 0 else f"{caption}, continued"
        yield table(here, [*columns, *(Column(name=name) for name in shown)], rows)


def _cell(judged: Judged | None) -> Cell:
    if judged is None:
        return Cell(content=MISSING, tone="faint")
    figure = _figure(judged.value)
    if judged.bound is not None and judged.bound != 1:
        figure += f" of {_figure(judged.bound)}"
    if judged.passed is None:
        return Cell(content=f"{figure} not judged", tone="faint")
    word, tone = ("passed", "good") if judged.passed else ("FAILED", "bad")
    return Cell(content=join([figure, tag("small", f" {word}")]), tone=tone)


def _figure(value: float | None) -> str:
    return "0" if value == 0 else short(value, 2)


def _verdict(passed: bool | None) -> Cell:
    if passed is None:
        return Cell(content=MISSING, tone="faint")
    return Cell(content="PASSED", tone="good") if passed else Cell(content="FAILED", tone="bad")


def _remarks(evidence: Evidence) -> Markup:
    said: list[str] = []
    for proof in evidence.proofs:
        leaf = leaf_of(proof.artifact)
        said += (f"{leaf} in {proof.place}: {reason}" for reason in proof.reasons)
        said += (f"{leaf}, not gated: {reason}" for reason in proof.skipped)
        if proof.accuracy:
            correct, total = (proof.accuracy[key] or 0 for key in ("correct", "total"))
            share = f"{100 * correct / total:.1f} % of {total:,.0f} test images correct"
            said.append(f"{leaf} in {proof.place}: {share}")
    said += (f"{leaf_of(name)}, no accuracy: {why}" for name, why in evidence.no_data.items())
    said += (
        f"{leaf_of(name)}: status {status}"
        for name, status in evidence.statuses.items()
        if status != "proved"
    )
    return items(said)
