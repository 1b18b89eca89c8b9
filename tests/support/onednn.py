"""What oneDNN says of the kernels it runs, in zoo-run and in this process."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch


class Kernels(NamedTuple):
    """How many kernels ran, in the order in which they count for a program."""

    packed: int
    """Reorders before the first convolution: those that pack the weights."""
    convolutions: int
    reordered: int
    """Reorders after the first convolution: those of every call."""


def kernels(log: str) -> Kernels:
    """Count the lines of oneDNN's verbose output."""
    names = [line.split(",")[5] for line in log.splitlines() if ",exec," in line]
    convolutions = [i for i, name in enumerate(names) if name == "convolution"]
    first = convolutions[0] if convolutions else len(names)
    before, after = (part.count("reorder") for part in (names[:first], names[first:]))
    return Kernels(before, len(convolutions), after)


def in_runner(
    runner: Path, artifact: Path, threads: int, batch: int, calls: int = 4, cpu: str = "ALL"
) -> tuple[Kernels, str]:
    """The kernels of `calls` calls and more, and what zoo-run prints; `cpu` as oneDNN names it."""
    command = [str(runner), str(artifact), "--threads", str(threads), "--batch", str(batch)]
    command += ["--warmup", "0", "--iterations", str(calls)]
    environment = os.environ | {"ONEDNN_VERBOSE": "profile_exec", "ONEDNN_MAX_CPU_ISA": cpu}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return kernels(done.stdout), done.stdout


def in_python(capture: pytest.CaptureFixture[str], call: Callable[[], object]) -> Kernels:
    """The kernels of a call in this process; `capture` is pytest's capfd."""
    capture.readouterr()
    with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        call()
    ctypes.CDLL(None).fflush(None)
    return kernels(capture.readouterr().out)
