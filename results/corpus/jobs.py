"""The rows of the corpus: which network at which precision in which backend, and in which order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compile.backends import BACKENDS, backend
from results.corpus.generator import Spec, generate
from results.corpus.timm_choice import chosen
from tests.networks import NETWORKS
from zoo.models import names

PARTS = ("a", "b", "c", "d")
WAYS = "pytorch"
"""In place of a backend: the errors of eager PyTorch, by which the bounds are chosen."""
PRECISIONS = {
    "a": ("fp32", "int8"),
    "b": ("fp32", "int8"),
    "c": ("fp32",),
    "d": ("fp32", "int8"),
}
GENERATED = 200
"""How many random networks part d has for each seed."""
FOUND = Path(__file__).parents[2] / "tests" / "data" / "networks" / "found.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row: what is built, from which seed. It is also what names the row in the file."""

    part: str
    network: str
    seed: int
    backend: str
    precision: str

    @property
    def key(self) -> tuple[str, ...]:
        """Rows that say the same have the same key."""
        return tuple(map(str, asdict(self).values()))


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The same of a row that was read from a file."""
    return tuple(str(row[name]) for name in Job.__dataclass_fields__)


def networks(part: str, seed: int) -> list[str]:
    """The names of one part's networks, in the order in which they are run."""
    if part == "a":
        return list(NETWORKS)
    if part == "b":
        return sorted(chosen(), key=chosen().__getitem__)  # small images first: they take less time
    if part == "c":
        return list(names())
    return [*found(), *(f"random-{number}" for number in range(GENERATED))]


def specification(network: str, seed: int) -> Spec:
    """What a network of part d is made of: one that was kept, or one that is drawn."""
    kept = found()
    return kept[network]["spec"] if network in kept else generate(f"{network}-{seed}")


def found() -> dict[str, dict[str, Any]]:
    """Name -> `why` and `spec` of random networks that once showed something wrong."""
    return json.loads(FOUND.read_text())


def cpu_backends() -> list[str]:
    """The names of the backends that build for a CPU."""
    return [name for name in BACKENDS if "cpu" in backend(name).PRECISIONS]


def all_jobs(
    parts: Iterable[str], backends: Iterable[str], precisions: Iterable[str], seed: int
) -> list[Job]:
    """Every row that was asked for, in the order in which rows are run.

    Empty `backends` and `precisions` stand for all, except for WAYS, which must be named.
    """
    wanted, allowed = set(backends) or set(cpu_backends()), set(precisions)
    rows = [
        (rank, job)
        for part in parts
        for rank, job in _jobs(part, seed)
        if job.backend in wanted and (not allowed or job.precision in allowed)
    ]
    return [job for _, job in sorted(rows, key=lambda each: each[0])]


def _jobs(part: str, seed: int) -> Iterator[tuple[tuple[int, bool], Job]]:
    """The jobs of a part, each with its rank: fp32 first; half of part b and part d last."""
    early = {"b": [*chosen()][::2], "d": []}.get(part, networks(part, seed))
    for network in networks(part, seed):
        for place, precision in enumerate(PRECISIONS[part]):
            for name in (WAYS, *cpu_backends()):
                if name == WAYS or precision in backend(name).PRECISIONS["cpu"]:
                    job = Job(
                        part=part, network=network, seed=seed, backend=name, precision=precision
                    )
                    yield (place, network not in early), job


def together(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs of each network at each precision, which have most of their work in common."""
    groups: dict[tuple[str, str, int, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.part, job.network, job.seed, job.precision), []).append(job)
    return [*groups.values()]
