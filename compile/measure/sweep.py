"""Measure one artifact in every combination of batch, threads and streams, with zoo-run.

Each setting is measured in a process of its own. A seed decides their order: if the machine slows
down meanwhile, that does not look like an effect of one of the values.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from compile.artifact.manifest import Manifest, read_manifest
from compile.errors import Unavailable, UsageError, ZooError
from compile.machine import usable_cores
from compile.measure.settings import (
    LARGEST,
    OFFLINE,
    SINGLE_STREAM,
    Setting,
    check_sweep,
    counted,
)
from compile.runner import has_engine, measure


def sweep(
    path: Path,
    runner: Path | None,
    given: Mapping[str, Sequence[int]],
    *,
    duration: float | None = None,
    iterations: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda stage: None,
) -> dict[str, Any]:
    """Measure an artifact in every combination of the values; docs/guide.md describes the report.

    What is not varied keeps its usual value: the artifact's smallest batch, `threads` or all usable
    cores, one stream. If streams vary, every setting is measured in the scenario `offline`, those
    with one stream as well, so that all can be compared.

    Args:
        path: of the artifact.
        runner: the zoo-run; None if there is none.
        given: the values of `batch`, `threads` and `streams`, or of some of them.
        duration: seconds of timed calls of each setting, at least.
        iterations: timed calls of each setting, at least.
        threads: where they do not vary.
        seed: decides the order.
        tell: is told what is measured next.

    Raises:
        UsageError: a value that is not allowed, or no setting that the artifact can be run in.
        Unavailable: there is no zoo-run, or it cannot run the artifact.
        ZooError: of zoo-run, if it fails in every setting.
    """
    values = check_sweep(given)
    if threads is not None and "threads" in values:
        raise UsageError("--threads and a sweep of threads: give one of them")
    manifest = read_manifest(path)
    if runner is None or not has_engine(runner, manifest["backend"]):
        lacks = "is not here" if runner is None else f"has no engine for {manifest['backend']}"
        raise Unavailable(f"a sweep is measured with zoo-run, which {lacks}; see `zoo doctor`")
    settings, skipped = _plan(manifest, values, threads or usable_cores())
    random.Random(seed).shuffle(settings)
    offline = "streams" in values and manifest["device"] == "cpu"
    options = [] if duration is None else ["--duration", str(duration)]
    options += [] if iterations is None else ["--iterations", str(iterations)]
    measured, failed = [], []
    for number, each in enumerate(settings, 1):
        tell(f"measuring {number} of {len(settings)}: {each}")
        streams = ["--scenario", OFFLINE, "--streams", str(each.streams)] if offline else []
        words = [*options, *streams, "--batch", str(each.batch)]
        try:
            measured.append({**asdict(each), "report": measure(runner, path, words, each.threads)})
        except ZooError as error:  # such as too little memory for a large batch
            failed.append(error)
            skipped.append({**asdict(each), "reason": str(error)})
    if not measured:
        raise failed[0] if failed else UsageError(f"nothing to measure: {skipped[0]['reason']}")
    return {
        "kind": "sweep",
        "artifact": str(path),
        **{key: manifest[key] for key in ("backend", "precision", "device")},
        "model": manifest["model"]["name"],
        "scenario": OFFLINE if offline else SINGLE_STREAM,
        "seed": seed,
        "settings": measured,
        "skipped": skipped,
        **best_of(measured),
    }


def _plan(
    manifest: Manifest, values: Mapping[str, Sequence[int]], threads: int
) -> tuple[list[Setting], list[dict[str, Any]]]:
    """The settings that the artifact can be run in, and the others with the reason."""
    usual = {"batch": manifest["programs"][0]["batch"][0], "threads": threads, "streams": 1}
    lists = [values.get(name, (usual[name],)) for name in LARGEST]
    settings, skipped = [], []
    for combination in product(*lists):
        each = Setting(**dict(zip(LARGEST, combination, strict=True)))
        reason = _obstacle(each, manifest)
        if reason is None:
            settings.append(each)
        else:
            skipped.append({**asdict(each), "reason": reason})
    return settings, skipped


def _obstacle(setting: Setting, manifest: Manifest) -> str | None:
    """Why an artifact cannot be run in a setting. Raises UsageError beyond a range of batches."""
    ranges = [program["batch"] for program in manifest["programs"]]
    low, high = min(first for first, _ in ranges), max(last for _, last in ranges)
    if low < high and not low <= setting.batch <= high:
        raise UsageError(f"sweep batch={setting.batch}: this artifact answers {low} to {high}")
    if not any(first <= setting.batch <= last for first, last in ranges):
        built = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in ranges)
        return f"batch {setting.batch}: the artifact was built for {built}"
    if setting.streams > 1 and manifest["device"] != "cpu":
        return "several streams: they are measured on the CPU alone"
    if setting.threads % setting.streams:
        shared = counted(setting.threads, "thread")
        return f"{shared} cannot be divided evenly among {setting.streams} streams"
    return None


def best_of(measured: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int] | None]:
    """The settings of the highest throughput and of the lowest median, among those that are VALID;
    None if none is.
    """
    valid = [each for each in measured if each["report"]["verdict"] == "VALID"]
    fast = max(valid, key=lambda each: each["report"]["throughput_per_s"], default=None)
    quick = min(valid, key=lambda each: each["report"]["latency_ms"]["median"], default=None)
    return {
        name: None if each is None else {key: each[key] for key in LARGEST}
        for name, each in (("highest_throughput", fast), ("lowest_latency", quick))
    }
