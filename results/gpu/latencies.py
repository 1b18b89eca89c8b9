"""How fast artifacts are beside PyTorch itself, in one process, in turns of random order.

`python3 -m results.gpu.latencies NETWORK ...`: eager PyTorch with its channels first and last, the
artifacts of this precision below --root, and torch.compile at its best. One call of each is a
round. A line of JSON is printed without torch.compile, and another with it: it compiles for long.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compile import machine
from compile.artifact.manifest import read_manifest
from compile.artifact.publishing import find_artifacts
from compile.artifact.reading import golden_input, open_artifact
from compile.loading import load_programs
from compile.measure.stats import doubts, median_interval, percentile, summary
from compile.precision import PRECISIONS, tensor_float
from zoo.errors import ZooError

WARMUP = 20
LEAST = 30
"""Rounds before the timed ones, and timed ones at least."""
COMPILERS: dict[str, dict[str, Any]] = {
    "max-autotune": {"mode": "max-autotune"},  # CUDA graphs too
    "eager": {"backend": "eager"},  # compiles nothing: for a dry run
}
"""Arguments of torch.compile."""

Call = Callable[[], Any]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="results.gpu.latencies", description=__doc__)
    made.add_argument("network")
    made.add_argument("--precision", required=True, choices=PRECISIONS)
    made.add_argument("--device", required=True)
    made.add_argument("--root", type=Path, required=True)
    made.add_argument("--seconds", type=float, default=5.0, help="of timed calls, of each line")
    made.add_argument("--compiler", choices=COMPILERS, default="max-autotune")
    return made


def main() -> int:
    """Measure, and print a line of JSON for each of the two times."""
    from zoo.sources.source import resolve

    given = parser().parse_args()
    row = PRECISIONS[given.precision]
    dtype = getattr(torch, row.dtype)
    try:
        with torch.no_grad(), tensor_float(row.tf32):
            source = resolve(given.network, runs=Path("none"), fresh=True, seed=0)
            x = torch.randn(1, *source.shape, generator=torch.Generator().manual_seed(0))
            x = x.to(given.device)
            ways = eager_ways(source.network, dtype, x)
            ways |= artifact_ways(given.root, given.precision, given.device, x)
            show(given, measured(ways, given.device, given.seconds))
            ways[f"torch.compile {given.compiler}"] = compiled(
                source.network, dtype, x, COMPILERS[given.compiler]
            )
            show(given, measured(ways, given.device, given.seconds))
    except ZooError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def show(given: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print one line, flushed: what comes next may take longer than there is time."""
    conditions = machine.conditions() | {
        "network": given.network,
        "precision": given.precision,
        "device": given.device,
        "batch": 1,
        "threads": torch.get_num_threads(),
        "allocator": machine.allocator(),
        "gpu": torch.cuda.get_device_name() if given.device == "cuda" else None,
    }
    print(json.dumps({"latencies": rows, "conditions": conditions}), flush=True)


def eager_ways(network: nn.Module, dtype: torch.dtype, x: torch.Tensor) -> dict[str, Call]:
    """PyTorch with channels first and last; float32 in and out, as the artifacts have it."""
    first, last = placed(network, dtype, x.device), channels_last(network, dtype, x.device)
    return {
        "eager": lambda: first(x.to(dtype)).float(),
        "eager, channels last": lambda: last(of_channels_last(x, dtype)).float(),
    }


def compiled(network: nn.Module, dtype: torch.dtype, x: torch.Tensor, how: dict[str, Any]) -> Call:
    """The same with channels last, under torch.compile; its first call compiles."""
    program = torch.compile(channels_last(network, dtype, x.device), **how)
    return lambda: program(of_channels_last(x, dtype)).float()


def placed(network: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A copy of the network, at a precision and on a device."""
    return deepcopy(network).to(device, dtype)


def channels_last(network: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The same, with the channels of a pixel together in memory."""
    return placed(network, dtype, device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def of_channels_last(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The input for such a network."""
    return x.to(dtype, memory_format=torch.channels_last)


def artifact_ways(root: Path, precision: str, device: str, x: torch.Tensor) -> dict[str, Call]:
    """The artifacts of this precision and device below `root`, as they are loaded in Python."""
    ways: dict[str, Call] = {}
    for path in find_artifacts(root):
        manifest = read_manifest(path)
        if (manifest["precision"], manifest["device"]) != (precision, device):
            continue
        artifact = open_artifact(path)
        assert golden_input(artifact).shape[1:] == x.shape[1:]
        (program,) = load_programs(artifact).values()
        ways[f"{manifest['backend']} artifact"] = lambda program=program: program(x)
    return ways


def measured(ways: dict[str, Call], device: str, seconds: float) -> list[dict[str, Any]]:
    """A row for each way: its latency, and its time over the first one's in the same round."""
    times: dict[str, list[int]] = {name: [] for name in ways}
    rounds, begun = 0, time.monotonic()
    while rounds < WARMUP + LEAST or time.monotonic() - begun < seconds:
        if rounds == WARMUP:
            begun = time.monotonic()
        for name in random.sample(list(ways), len(ways)):
            start = time.perf_counter_ns()
            ways[name]()
            if device == "cuda":
                torch.cuda.synchronize()
            if rounds >= WARMUP:
                times[name].append(time.perf_counter_ns() - start)
        rounds += 1
    base = next(iter(times.values()))
    return [_row(name, taken, base) for name, taken in times.items()]


def _row(name: str, taken: list[int], base: list[int]) -> dict[str, Any]:
    ratios = sorted(one / other for one, other in zip(taken, base, strict=True))
    reasons = doubts(taken, 0.0)
    return {
        "name": name,
        "latency_ms": summary(taken),
        "over_eager": percentile(ratios, 50),
        "over_eager_interval": median_interval(ratios),
        "verdict": "INVALID" if reasons else "VALID",
        "reasons": reasons,
    }


if __name__ == "__main__":
    sys.exit(main())
