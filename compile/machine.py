"""What this machine is: CPU flags, the nearest -march level, versions, and the conditions of a run.

A number never travels without its conditions, and a program never runs on a CPU it was not built
for; both need the same few facts.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from compile.errors import NotBuildable, Unavailable, UsageError
from compile.precision import VNNI
from compile.precision import precision as find_precision

_V3 = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_SAPPHIRE_RAPIDS = (
    *_V4,
    *("avx512ifma", "avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bitalg"),
    *("avx512_vpopcntdq", "avx512_bf16", "avx512_fp16", "avx_vnni", "gfni", "vaes", "vpclmulqdq"),
    *("amx_tile", "amx_bf16", "amx_int8", "serialize", "cldemote", "waitpkg"),
)

LEVELS: dict[str, tuple[str, ...]] = {
    "sapphirerapids": _SAPPHIRE_RAPIDS,
    "x86-64-v4": _V4,
    "x86-64-v3": _V3,
}
"""gcc -march levels, best first, with the flags of /proc/cpuinfo that they need."""

_ONEDNN_FLAGS = (
    *("avx_vnni", "avx_ne_convert", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8"),
)
"""Flags by which oneDNN picks kernels and the layout of packed weights, whatever -march says."""


@cache
def cpu_flags() -> frozenset[str]:
    """Return the CPU flags of this machine in the names of /proc/cpuinfo."""
    match = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return frozenset(match[1].split()) if match else frozenset()


def native_level(flags: frozenset[str] | None = None) -> str:
    """Return the best level in LEVELS that `flags` (default: this CPU's) satisfies."""
    flags = cpu_flags() if flags is None else flags
    for level, needed in LEVELS.items():
        if flags.issuperset(needed):
            return level
    raise Unavailable("this CPU has no AVX2; compiled CPU artifacts need x86-64-v3 or better")


def vnni() -> str | None:
    """Return the flag by which this CPU multiplies bytes without overflow, None if it does not."""
    return next((flag for flag in VNNI if flag in cpu_flags()), None)


def emulated(precision: str, device: str) -> str | None:
    """Why this machine only emulates a precision, in one line; None if it computes in it."""
    flags = find_precision(precision).computing_flags
    if device != "cpu" or not flags or not cpu_flags().isdisjoint(flags):
        return None
    return (
        f"this CPU only emulates {precision}, as it has no {' and no '.join(flags)}: a build takes "
        f"minutes, and a call several times as long as in fp32; --precision {precision} builds it"
    )


def resolve_target(target: str, precision: str) -> str:
    """Return the named level for `target`; `native` is the nearest one of this machine.

    A level by name may be one that this CPU has not. What is built for it is never run here.
    """
    if target == "native":
        return native_level()
    if target not in LEVELS:
        raise UsageError(f"unknown target '{target}'; choose one of: native, {', '.join(LEVELS)}")
    row = find_precision(precision)
    if any(set(group).isdisjoint(LEVELS[target]) for group in row.cpu_flags):
        raise NotBuildable(f"CPUs of {target} {row.without_flags}")
    if not row.quantised and any(cpu_flags().isdisjoint(group) for group in row.cpu_flags):
        raise NotBuildable(
            f"PyTorch computes no {precision} on this CPU, and its own error is the yardstick: "
            f"build it on a CPU of {target}, or take --precision fp32"
        )
    return target


def has_level(target: str) -> bool:
    """Whether this CPU runs code for `target`: `native`, or a name in LEVELS."""
    return target == "native" or cpu_flags().issuperset(LEVELS.get(target, ()))


def required_flags(level: str, *, named: bool) -> list[str]:
    """Return the CPU flags that a program built here for `level` needs, sorted.

    One whose level was not asked for by name was made for the oneDNN kernels of this very CPU,
    so the flags by which oneDNN chose them are required too.
    """
    needed = set(LEVELS[level])
    if not named:
        needed.update(cpu_flags().intersection(_ONEDNN_FLAGS))
    return sorted(needed)


def package_version(name: str) -> str | None:
    """Return the installed version of a distribution without its local tag, or None."""
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None


def versions(*extra: str) -> dict[str, str]:
    """Return the versions that a result or an artifact records; `extra` names distributions."""
    numbers = {name: package_version(name) for name in ("torch", "numpy", *extra)}
    known = {name: number for name, number in numbers.items() if number is not None}
    return {"python": platform.python_version(), **known}


@cache
def commit() -> str | None:
    """Return the commit of the checkout this package lies in, with `-dirty`; None outside one."""
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / ".git").exists():  # else git would name a repository that we lie in
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def cpu_model() -> str:
    """Return the CPU's model name."""
    match = re.search(r"^model name\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else platform.processor()


_GPUS = (
    *("nvidia-smi", "--format=csv,noheader,nounits"),
    "--query-gpu=name,driver_version,compute_cap,memory.total",
)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU, in the words of its driver."""

    name: str
    driver: str
    compute_capability: str
    """Such as 9.0."""
    memory_mib: str


def gpus(command: Sequence[str] = _GPUS) -> list[Gpu]:
    """The GPUs that `command` lists; none if it is missing, fails or says something else."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    names = [field.name for field in fields(Gpu)]
    return [Gpu(**dict(zip(names, row, strict=True))) for row in rows if len(row) == len(names)]


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def now() -> str:
    """Return the date and time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions() -> dict[str, Any]:
    """Return what a reader needs to judge a number from this machine."""
    return {
        "machine": platform.node(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "level": next((name for name, needs in LEVELS.items() if cpu_flags() >= set(needs)), None),
        "versions": versions(),
        "commit": commit(),
        "date": now(),
    }


def allocator() -> str:
    """The library that serves malloc in this process, as the process itself maps it."""
    mapped = Path("/proc/self/maps").read_text()
    match = re.search(r"(/\S*(?:tcmalloc|jemalloc|mimalloc)\S*)", mapped)
    return match[1] if match else "glibc"
