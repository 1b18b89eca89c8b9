"""Why a module that was built for a range of batches fails at some of them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.fx.experimental.sym_node import SymNode

from compile.errors import CheckFailed, first_line
from compile.graphs.names import exported
from compile.network.checking import blame, quiet_torch
from compile.spec import CompileSpec

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parents[1])

_GUARD = re.compile(r"generated guard:?\s*(.+)")
"""What an export says of a batch that is compared with something."""

_NUMBER = re.compile(r"(?<![\w\[])\d+")

_LARGEST = 256
"""Images in one batch that is tried because its size is compared with a number."""


@contextmanager
def reason_of_batches(module: nn.Module, spec: CompileSpec) -> Iterator[None]:
    """Say what in `module` does not allow the batches of `spec`, where that is why a build or a
    program breaks inside.
    """
    try:
        yield
    except CheckFailed as error:
        reason = why_not(module, spec)
        if reason is None:
            raise
        raise CheckFailed(reason) from error


def why_not(module: nn.Module, spec: CompileSpec) -> str | None:
    """What in `module` does not allow the batches of `spec`, in words; None if nothing shows.

    Either it breaks at one of them itself, or its forward makes a Python number of the batch, which
    an exported program then has for every batch.
    """
    if not spec.dynamic:
        return None
    return _breaks(module, spec) or _fixed(module, spec)


def sizes_compared(module: nn.Module, spec: CompileSpec) -> list[int]:
    """Batches of `spec` at which `module` may compute something else, as far as its export says.

    Its forward compares the batch with numbers: these, their neighbours, and a multiple of each.
    """
    low, high = spec.batch
    with quiet_torch():
        try:
            exported(module, spec)
        except Exception as error:
            guards = _GUARD.findall(str(error))
        else:
            return []
    numbers = {int(number) for guard in guards for number in _NUMBER.findall(guard)} - {0}
    near = {number + step for number in numbers for step in (-1, 0, 1)}
    multiples = {-(-low // number) * number for number in numbers}
    return sorted(size for size in near | multiples if low <= size <= min(high, _LARGEST))


def _breaks(module: nn.Module, spec: CompileSpec) -> str | None:
    low, high = spec.batch
    here = next((value.device for value in module.parameters()), torch.device("cpu"))
    for size in (high, low, low + 1):
        with torch.no_grad(), quiet_torch(), blame(module) as blamed:
            try:
                module(replace(spec, batch=(size, size)).example().to(here))
            except Exception as error:
                return (
                    f"{blamed} itself refuses a batch of {size}: {first_line(error)}; take the "
                    "number of images from the input, x.shape[0], or build it for --batch 1"
                )
    return None


def _fixed(module: nn.Module, spec: CompileSpec) -> str | None:
    with quiet_torch(), blame(module) as blamed, _numbers_made(blamed) as made:
        try:
            exported(module, spec)
        except Exception as error:
            said = str(error)
        else:
            return None
    if made and "specialized" in said:
        return (
            f"{made[0]} makes a number of the batch, as len(x), int(x.shape[0]) and a loop over "
            "the images do, and a program then has it for every batch; write x.shape[0], and "
            "compute all images at once, or build it for --batch N"
        )
    if "Constraints violated" in said:
        guard = _GUARD.search(said)
        return (
            f"{made[0] if made else 'the module'} computes something else at some batches"
            f"{f' ({first_line(ValueError(guard[1]))})' if guard else ''}; compute the same at "
            "all of them, or build it for --batch N"
        )
    return None


@contextmanager
def _numbers_made(blamed: object) -> Iterator[list[str]]:
    """Note where an export makes a Python number of a size that is not known, the first place
    first: the layer, and the line of its code.
    """
    made: list[str] = []
    original = SymNode.guard_int

    def noting(self: Any, file: str, line: int) -> int:
        if self.maybe_as_int() is None:
            made.append(f"{blamed}{_line()}")
        return original(self, file, line)

    SymNode.guard_int = noting  # type: ignore[method-assign]
    try:
        yield made
    finally:
        SymNode.guard_int = original  # type: ignore[method-assign]


def _line() -> str:
    """` (net.py, line 12)`: the innermost line of the module's author; empty if it is torch's."""
    for frame in traceback.extract_stack()[-3::-1]:  # without this function, and who calls it
        if frame.filename.startswith(_OURS):
            break
        if not frame.filename.startswith((_TORCH, "<")):
            return f" ({Path(frame.filename).name}, line {frame.lineno})"
    return ""
