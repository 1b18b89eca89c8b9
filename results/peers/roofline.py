"""What this machine could do at most: products of matrices, and copies of memory.

`python -m results.peers.roofline THREADS` prints one JSON object: GFLOP/s at each precision (two
operations for each product that is added), and GB/s of a copy (bytes read and bytes written).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from compile import machine
from results.peers.environments import ROOT

EXTENT = 2048
"""Rows and columns of the matrices."""
COPIED = 256 * 2**20
"""Bytes: more than any cache holds."""
TIMES = 9
"""The fastest of so many counts: a roof is what can be reached."""


def roofline(threads: int, extent: int = EXTENT, copied: int = COPIED) -> dict[str, Any]:
    """Measure with `threads` in this process; a precision that is only emulated gives None."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(extent, extent, generator=generator) for _ in range(2))
    operations = 2.0 * extent**3
    gflops: dict[str, float | None] = {}
    for name, one, other, product in (
        ("fp32", a, b, torch.mm),
        ("bf16", a.bfloat16(), b.bfloat16(), torch.mm),
        ("int8", (a * 40).to(torch.int8), (b * 40).to(torch.int8), torch._int_mm),
    ):
        if machine.emulated(name, "cpu") is not None:
            gflops[name] = None
        else:
            gflops[name] = operations / _fastest(lambda: product(one, other)) / 1e9  # noqa: B023
    source = torch.zeros(copied // 4)
    target = torch.empty_like(source)
    seconds = _fastest(lambda: target.copy_(source))
    return {"gflops": gflops, "copy_gb_s": 2 * copied / seconds / 1e9, "extent": extent}


def _fastest(work: Callable[[], Any]) -> float:
    """Seconds of the fastest call."""
    work()
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def roofline_apart(threads: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-P", "-m", "results.peers.roofline", str(threads)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(roofline(int(sys.argv[1]))))
