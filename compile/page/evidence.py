"""What a set of documents says: measurements, proofs, and manifests, each by artifact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from compile.artifact.manifest import MANIFEST
from compile.measure.settings import LARGEST, Setting
from compile.page.fields import MOST, Json, mapping, numbers, objects, positive, text, texts
from compile.page.naming import leaf_of, name_of_manifest, name_of_path, task_of
from compile.page.proofs import Proof, proofs_of_check, proofs_of_manifest, proofs_of_runner
from compile.page.reading import Document, manifests_of

VALID = "VALID"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An artifact measured in one place. Times are in milliseconds; None is not recorded."""

    artifact: str
    place: str
    """`zoo-run` or `Python`."""
    backend: str
    precision: str
    batch: int | None
    device: str
    latency: Json
    """`latency_ms` of the report."""
    samples_ns: tuple[float, ...]
    """Each timed call, in order of time; empty if the report has none."""
    report: Json
    """All of it."""

    @property
    def task(self) -> str:
        """What the artifact computes, as `task_of` names it."""
        return task_of(self.artifact)

    @property
    def leaf(self) -> str:
        """The artifact's own folder."""
        return leaf_of(self.artifact)

    @property
    def median(self) -> float:
        """Of one call, in ms."""
        return positive(self.latency, "median") or math.nan  # NaN: `collect` lets none in

    @property
    def interval(self) -> tuple[float, float] | None:
        """The median's 95 % interval, in ms."""
        ends = numbers(self.latency, "median_interval")
        fits = len(ends) == 2 and 0 < ends[0] <= self.median <= ends[1] < MOST
        return (ends[0], ends[1]) if fits else None

    @property
    def valid(self) -> bool:
        """Whether the report calls its own figures VALID."""
        return text(self.report, "verdict") == VALID

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why they are INVALID."""
        return texts(self.report, "reasons")

    @property
    def conditions(self) -> Json:
        """What it was measured under."""
        return mapping(self.report, "conditions")

    @property
    def machine(self) -> tuple[str, str, int | None]:
        """Host, CPU and threads. Figures of two of them are never compared."""
        host = text(self.conditions, "host") or text(self.conditions, "machine") or ""
        threads = positive(self.conditions, "threads")
        cpu = text(self.conditions, "gpu_arch") or text(self.conditions, "cpu") or "unknown CPU"
        return host, cpu, None if threads is None else int(threads)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One artifact measured in several settings."""

    artifact: str
    scenario: str
    """Of zoo-run, the same for each setting."""
    rows: tuple[tuple[Setting, Measured], ...]
    """At least one."""
    skipped: tuple[str, ...]
    """Why other settings were not measured."""


@dataclass(kw_only=True)
class Evidence:
    """Everything that the documents say."""

    measured: list[Measured] = field(default_factory=list)
    """Single calls, one after another: what artifacts are compared by."""
    scenarios: list[Measured] = field(default_factory=list)
    """Other scenarios of zoo-run, whose times are not those of single calls."""
    sweeps: list[Sweep] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    manifests: dict[str, Json] = field(default_factory=dict)
    """By the artifact's name."""
    errors: list[str] = field(default_factory=list)
    """What kept a command from measuring or proving an artifact."""
    no_data: dict[str, str] = field(default_factory=dict)
    """Artifact -> why its accuracy was not counted."""
    statuses: dict[str, str] = field(default_factory=dict)
    """Artifact -> `proved`, `pending` or `accepted`."""

    def names(self) -> list[str]:
        """The artifacts, in the order of the documents."""
        measured = [each.artifact for each in self.everything_measured()]
        proved = [each.artifact for each in self.proofs]
        return list(dict.fromkeys([*measured, *proved, *self.manifests]))

    def everything_measured(self) -> list[Measured]:
        """Single calls, other scenarios, and each setting of the sweeps."""
        swept = [measured for each in self.sweeps for _, measured in each.rows]
        return [*self.measured, *self.scenarios, *swept]

    def proofs_for(self, artifact: str) -> list[Proof]:
        """Of one artifact, in the order of the documents."""
        return [proof for proof in self.proofs if proof.artifact == artifact]

    def is_proved(self, artifact: str) -> bool | None:
        """Whether it has a proof that holds; None if the documents do not say."""
        proofs = self.proofs_for(artifact)
        status = self.statuses.get(artifact)
        if any(proof.passed is False for proof in proofs) or status == "accepted":
            return False
        if any(proof.passed for proof in proofs) or status == "proved":
            return True
        return None if status is None else False


def collect(documents: Iterable[Document]) -> Evidence:
    """Put together what the documents say. What is given twice counts once."""
    evidence = Evidence()
    manifests: list[tuple[Path, Json]] = []
    for document in documents:
        body = document.body
        for place, manifest in manifests_of(document.kind, body).items():
            path = Path(place, MANIFEST) if place else document.path
            manifests.append((path, manifest))
        if document.kind == "manifest":
            continue
        if document.kind == "check":
            _add_check(evidence, body)
        elif document.kind == "proof":
            name = name_of_path(body["artifact"], body)
            evidence.proofs += proofs_of_runner(name, body)
            _add_status(evidence, name, body)
        elif document.kind == "sweep":
            _add_sweep(evidence, body)
        elif document.kind == "scenario":
            one = _measured(name_of_path(body["artifact"], body), "zoo-run", body)
            _add_status(evidence, one.artifact, body)
            evidence.scenarios += [one] if one not in evidence.scenarios else []
        else:
            _add_measurements(evidence, body, _places(document.kind, body))
    known = {*evidence.names()}
    for path, manifest in manifests:
        _add_manifest(evidence, path, manifest, known)
    evidence.proofs = [p for i, p in enumerate(evidence.proofs) if p not in evidence.proofs[:i]]
    return evidence


def _add_check(evidence: Evidence, body: Json) -> None:
    evidence.proofs += proofs_of_check(body)
    evidence.errors += texts(body, "errors")
    reasons = mapping(body, "no_data")
    evidence.no_data |= {key: why for key, why in reasons.items() if isinstance(why, str)}
    for row in objects(body, "rows"):
        _add_status(evidence, str(row["artifact"]), row)


def _add_manifest(evidence: Evidence, path: Path, manifest: Json, known: set[str]) -> None:
    name = name_of_manifest(manifest, path, known)
    evidence.manifests[name] = manifest
    evidence.proofs += proofs_of_manifest(name, manifest)
    evidence.statuses.setdefault(name, manifest["status"])


def _add_status(evidence: Evidence, name: str, body: Json) -> None:
    status = text(body, "status")
    if status is not None:
        evidence.statuses[name] = status


_Place = tuple[str, str, Json]
"""Path of an artifact, where it was measured, and what was measured there."""


def _places(kind: str, body: Json) -> list[_Place]:
    if kind == "measurement":
        return [(str(body["artifact"]), "zoo-run", body)]
    if kind in ("comparison", "fastest"):
        programs = objects(
            body if kind == "comparison" else mapping(body, "comparison"), "programs"
        )
        return [(text(each, "artifact") or "", "zoo-run", each) for each in programs]
    reports = [body] if kind == "single bench" else objects(body, "reports")
    return [
        (text(report, "artifact") or "", place, mapping(report, key))
        for report in reports
        for key, place in (("runner", "zoo-run"), ("python", "Python"))
    ]


def _add_measurements(evidence: Evidence, body: Json, places: list[_Place]) -> None:
    evidence.errors += texts(body, "errors")
    for path, place, report in places:
        if positive(report, "latency_ms", "median") is None:
            continue
        one = _measured(name_of_path(path, report), place, report)
        _add_status(evidence, one.artifact, report)
        if one not in evidence.measured:
            evidence.measured.append(one)


def _add_sweep(evidence: Evidence, body: Json) -> None:
    """The settings that have their values and both figures."""
    rows = []
    name = name_of_path(body["artifact"], body)
    for each in objects(body, "settings"):
        report = mapping(each, "report")
        values = [positive(each, key) for key in LARGEST]
        figures = positive(report, "latency_ms", "median"), positive(report, "throughput_per_s")
        if None in values or None in figures:
            continue
        setting = Setting(**{k: int(v or 0) for k, v in zip(LARGEST, values, strict=True)})
        rows.append((setting, _measured(name, "zoo-run", report)))
        _add_status(evidence, name, report)
    reasons = (text(each, "reason") for each in objects(body, "skipped"))
    one = Sweep(
        artifact=name,
        scenario=text(body, "scenario") or "unknown",
        rows=tuple(rows),
        skipped=tuple(dict.fromkeys(filter(None, reasons))),
    )
    if rows and one not in evidence.sweeps:
        evidence.sweeps.append(one)


def _measured(name: str, place: str, report: Json) -> Measured:
    batch = positive(report, "batch")
    return Measured(
        artifact=name,
        place=place,
        backend=text(report, "backend") or "unknown",
        precision=text(report, "precision") or "unknown",
        batch=None if batch is None else int(batch),
        device=text(report, "device") or "cpu",
        latency=mapping(report, "latency_ms"),
        samples_ns=tuple(each for each in numbers(report, "samples_ns") if 0 < each < MOST),
        report=report,
    )
