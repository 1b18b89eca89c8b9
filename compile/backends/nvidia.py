"""What a GPU asks of a machine; what the two forms of TensorRT share: batches, requirements, cache.

No backend by itself.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compile.advice import Missing, pip_install
from compile.errors import Unavailable, UsageError, ZooError
from compile.files import write_atomic
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch

WORKSPACE = 2 << 30
"""Bytes of scratch memory a kernel may ask for. TensorRT's own default is the whole GPU, which
would make a program that fails beside another one."""

OPTIMIZATION_LEVEL = 3
"""TensorRT's default, written down so that no version changes it. 4 and 5 try more kernels for
much longer; that they pay for these networks has not been measured."""

PORTABLE_FROM = (8, 0)
"""Ampere: the oldest GPU that TensorRT's hardware compatibility covers."""

UNTAPPED = (
    "engines give no values from inside; bisect the onnx artifact of the same network instead"
)
"""Why `zoo bisect` refuses both forms of TensorRT."""

_OLDEST = {"tf32": (8, 0), "bf16": (8, 0), "fp8": (8, 9)}

_log = logging.getLogger(__name__)


_DISTRIBUTIONS = {"torch_tensorrt": "torch-tensorrt"}
"""What pip calls a package that Python calls otherwise."""


def missing(device: str, packages: tuple[str, ...]) -> Missing | None:
    """Driver, GPU, a CUDA build of torch, and `packages`; all that is missing in one line."""
    if device != "cuda":
        return Missing(f"runs on NVIDIA GPUs only, not on '{device}'; use --device cuda")
    driver, torch = _driver_fault(), _torch_fault()
    absent = [name for name in packages if not _installed(name)]
    lacks = [reason for reason in (driver, torch) if reason] + absent
    if not lacks:
        return None
    reason = "needs an NVIDIA GPU with its driver and a CUDA build of torch; missing here: "
    wanted = (["torch"] if torch else []) + [_DISTRIBUTIONS.get(name, name) for name in absent]
    command = pip_install(*wanted, replace=torch is not None) if wanted else None
    end = f"; then {command}" if driver and command else f": {command}" if command else ""
    return Missing(f"{reason}{', '.join(lacks)}{end}", None if driver else command)


def _driver_fault() -> str | None:
    """Ask the driver itself: importing torch to learn that there is no GPU takes seconds."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        return f"NVIDIA GPU (the driver sees none, code {status})"
    return None


def _torch_fault() -> str | None:
    spec = find_spec("torch")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    if (folder / "lib" / "libtorch_cuda.so").exists():
        return None
    return "CUDA build of torch"


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # imported already, by a loader that leaves no spec
        return True


def check_gpu(spec: CompileSpec) -> None:
    """Refuse in one line what this GPU cannot compute, before minutes go into building it."""
    import torch

    here = torch.cuda.get_device_capability()
    oldest = max(_OLDEST.get(spec.precision, (0, 0)), PORTABLE_FROM if spec.portable else (0, 0))
    if spec.portable and oldest > PORTABLE_FROM:
        raise UsageError(
            f"{spec.precision} needs {_arch(oldest)}, a portable engine runs from "
            f"{_arch(PORTABLE_FROM)} on; leave out --portable or take --precision int8"
        )
    if here < oldest:
        what = "a portable engine" if here >= _OLDEST.get(spec.precision, here) else spec.precision
        raise Unavailable(
            f"{what} needs a GPU of {_arch(oldest)} or newer, this one is {_arch(here)}; "
            "take --precision fp16 or int8 and leave out --portable"
        )


def _arch(capability: tuple[int, int]) -> str:
    return "sm_{}{}".format(*capability)


def requirements(version: str, spec: CompileSpec, load_first: list[str]) -> dict[str, Any]:
    """The manifest's `requirements` for an engine of TensorRT `version` built on this GPU.

    `sm_80+` stands for that architecture and every newer one: docs/artifact.md.
    """
    import torch

    arch = _arch(torch.cuda.get_device_capability())
    return {
        "gpu_arch": f"{_arch(PORTABLE_FROM)}+" if spec.portable else arch,
        "cuda": torch.version.cuda,
        "tensorrt": version,
        "load_first": load_first,
    }


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The input's shapes that an engine answers, batch included, and the one it is tuned for."""

    smallest: tuple[int, ...]
    best: tuple[int, ...]
    largest: tuple[int, ...]


def shapes(spec: CompileSpec) -> Shapes:
    """The range of `spec`, tuned for its largest batch.

    An engine answers its whole range with kernels chosen for one batch. Whoever asks for a range
    is after throughput, and a kernel that is best when the GPU is full loses microseconds on one
    sample, the other way round it loses a multiple. For latency, build that batch by itself.
    """
    sample = spec.example().shape[1:]
    low, high = ((size, *sample) for size in spec.batch)
    return Shapes(smallest=low, best=high, largest=high)


def example(spec: CompileSpec, size: int) -> torch.Tensor:
    """A seeded input of `size` samples, in the layout and dtype of `spec`, on its device."""
    import torch

    some = spec.example()
    return torch.cat([some] * -(-size // len(some)))[:size].to(spec.device)


@contextmanager
def timing_cache(version: str) -> Iterator[Path]:
    """The path of a timing cache for one build: how long each kernel took on this GPU before.

    It is a copy, put back in one step when the build is done: TensorRT writes in place, and a
    build that was killed, or two at once, would leave a torn file. Two at once each put theirs
    back; the last one's stays, and the other's kernels are timed again some day.

    Engines themselves are not kept. Torch-TensorRT can, but it names an engine by its operators
    and input shapes alone, so networks that differ in stride, padding or width share a name; it
    unpickles what it finds; and it demands refittable engines, which are slower.
    """
    kept = _kept(version)
    with TemporaryDirectory(prefix="zoo-") as folder:
        working = Path(folder) / "timing.bin"
        if kept is not None and kept.is_file():
            shutil.copyfile(kept, working)
        yield working
        if kept is None or not working.is_file():
            return
        try:
            write_atomic(kept, working.read_bytes())
        except (ZooError, OSError) as error:  # a cache that cannot be kept fails no build
            _log.warning("tensorrt: the timing cache is not kept: %s", error)


def _kept(version: str) -> Path | None:
    """The cache of this TensorRT and GPU in the user's cache folder; None if it is not private.

    Whoever can write there could make TensorRT read bytes of their choice.
    """
    import torch

    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = (given if given.is_absolute() else Path("~/.cache").expanduser()) / "zoo" / "tensorrt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
    except OSError as error:
        _log.warning("tensorrt: no timing cache in %s: %s", folder, error.strerror)
        return None
    private = stat.S_ISDIR(state.st_mode) and not state.st_mode & 0o022
    if state.st_uid != os.getuid() or not private:
        _log.warning("tensorrt: no timing cache in %s: others may write there", folder)
        return None
    gpu = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    return folder / f"timing-{version}-{gpu}.bin"
