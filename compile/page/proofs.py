"""What proved an artifact: each output and each gate, with its share of the bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from compile.measure.fastest import NOISE_GATE
from compile.page.fields import Json, mapping, number, objects, text, texts, truth

_PASSED = "PASSED"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One output or one gate."""

    name: str
    value: float | None
    """Of an output error / bound; of a gate what it measured."""
    bound: float | None
    """1 for an output."""
    passed: bool | None
    """None if the document does not say."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A proof of an artifact in one place."""

    artifact: str
    place: str
    """Where it ran: `when built`, `zoo-run`, `torch`, ..."""
    passed: bool | None
    outputs: tuple[Judged, ...]
    gates: tuple[Judged, ...] = ()
    sqnr_db: float | None = None
    """The lowest of all outputs; None if there is no noise or none is recorded."""
    reasons: tuple[str, ...] = ()
    accuracy: Json = field(default_factory=dict)
    """`correct` of `total` test images; empty if none were tried."""
    skipped: tuple[str, ...] = ()
    """Gates that were left out, and why."""

    @property
    def ratio(self) -> float | None:
        """The largest error / bound of its outputs."""
        return max((each.value for each in self.outputs if each.value is not None), default=None)

    @property
    def quantisation_noise(self) -> float | None:
        """What int8 or fp8 adds, as a share of how much the outputs vary; None without the gate."""
        noise = (gate.value for gate in self.gates if gate.name == NOISE_GATE)
        return next(noise, None)


def proofs_of_manifest(name: str, manifest: Json) -> list[Proof]:
    """The proof that a manifest records; none for one that is pending."""
    if manifest["status"] == "pending":
        return []
    parity = manifest["parity"]
    outputs = tuple(_output_of_manifest(output) for output in parity["outputs"])
    noise = [output["sqnr_db"] for output in parity["outputs"] if output.get("sqnr_db") is not None]
    return [
        Proof(
            artifact=name,
            place="when built",
            passed=manifest["status"] == "proved",
            outputs=outputs,
            gates=_gates(parity),
            sqnr_db=min(noise, default=None),
            skipped=tuple(f"{each['name']}: {each['reason']}" for each in parity["skipped_gates"]),
        )
    ]


def _output_of_manifest(output: Json) -> Judged:
    ratios = [
        row["rmse"] / row["bound"] if row["bound"] else math.inf
        for row in output["bounds"]
        if row["rmse"] is not None and (row["bound"] or row["rmse"])
    ]
    parts = number(output, "channels", "ratio")
    ratio = max([*ratios, *([] if parts is None else [parts])], default=None)
    passed = None if ratio is None else ratio <= 1
    top1 = output["top1"]
    if top1 is not None and top1["agreed"] != top1["decided"]:
        passed = False
    return Judged(name=output["name"], value=ratio, bound=1.0, passed=passed)


def _gates(holder: Json) -> tuple[Judged, ...]:
    return tuple(
        Judged(
            name=text(gate, "name") or "unnamed",
            value=number(gate, "value"),
            bound=number(gate, "bound"),
            passed=truth(gate, "passed"),
        )
        for gate in objects(holder, "gates")
    )


def proofs_of_check(body: Json) -> list[Proof]:
    """A proof for each row of `zoo check --json`."""
    proofs = []
    for row in objects(body, "rows"):
        outputs = tuple(_output_of_check(output) for output in objects(row, "outputs"))
        batch = text(row, "batch") or ""
        accuracy = {key: number(row, key) for key in ("correct", "total")}
        proofs.append(
            Proof(
                artifact=str(row["artifact"]),
                place=f"{row['ran_in']}, batch {batch}" if "-" in batch else str(row["ran_in"]),
                passed=text(row, "verdict") == _PASSED,
                outputs=outputs,
                sqnr_db=number(row, "sqnr_db"),
                reasons=texts(row, "reasons"),
                accuracy=accuracy if accuracy["total"] else {},
            )
        )
    return proofs


def _output_of_check(output: Json) -> Judged:
    ratio, top1 = number(output, "ratio"), output.get("top1")
    agrees = not isinstance(top1, list) or len(top1) != 2 or top1[0] == top1[1]
    passed = ratio is not None and ratio <= 1 and agrees
    return Judged(name=text(output, "name") or "unnamed", value=ratio, bound=1.0, passed=passed)


def proofs_of_runner(name: str, body: Json) -> list[Proof]:
    """The proof in a report of `zoo-run --check`. Its gates are those of the build."""
    check = mapping(body, "check")
    outputs = tuple(
        Judged(
            name=text(output, "name") or "unnamed",
            value=number(output, "ratio"),
            bound=1.0,
            passed=text(output, "verdict") == _PASSED,
        )
        for output in objects(check, "outputs")
    )
    return [
        Proof(
            artifact=name,
            place="zoo-run",
            passed=text(check, "verdict") == _PASSED,
            outputs=outputs,
            gates=_gates(check),
        )
    ]
