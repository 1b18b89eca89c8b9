"""The programs of an artifact: what they take, which one answers, and how rows are fed to it.

AOTInductor reads out of bounds on a wrong shape and takes any dtype for float32; TorchScript takes
another image size silently. So inputs are checked here and in the runner, not by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compile.errors import BadArtifact

if TYPE_CHECKING:
    import torch

    from compile.returned import Returned

Program = Callable[["torch.Tensor"], "Returned"]
"""A loaded program: float32 (N, C, H, W) or uint8 (N, H, W, C) in, float32 (N, ...) out. One tensor
for one output, a tuple in the manifest's order for several."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a program takes. An entry of the manifest's `inputs`."""

    dtype: str
    """`float32`, laid out NCHW, or `uint8`, laid out NHWC."""
    shape: tuple[int, int, int]
    """One sample as it lies in memory: (C, H, W), or (H, W, C) for bytes."""

    @property
    def chw(self) -> tuple[int, int, int]:
        """Channels, height and width, whatever the layout."""
        first, second, third = self.shape
        return self.shape if self.dtype == "float32" else (third, first, second)

    def __str__(self) -> str:
        return f"{self.dtype} (N, {', '.join(map(str, self.shape))})"


@dataclass(frozen=True, kw_only=True)
class ProgramFile:
    """One file that answers a range of batches. An entry of the manifest's `programs`."""

    file: str
    """Name inside the artifact folder."""
    batch: tuple[int, int]
    """Smallest and largest batch."""
    entry: str | None = None
    """The model's name inside a .pt2 package."""
    precision: str | None = field(default=None, compare=False)
    """What the manifest says that it computes in; None if there is no manifest yet."""
    outputs: tuple[str, ...] | None = field(default=None, compare=False)
    """The names of its outputs in the manifest's order; None if there is no manifest yet."""

    @property
    def batch_text(self) -> str:
        """`8`, or `1:64` for a range."""
        low, high = self.batch
        return str(low) if low == high else f"{low}:{high}"


def check_input(
    x: torch.Tensor,
    wanted: InputSpec,
    programs: Sequence[ProgramFile],
    *,
    allow_nonfinite: bool = False,
) -> ProgramFile:
    """Return the program for the batch of `x`; raise BadArtifact for what does not fit.

    Allowed is the dtype and shape wanted, contiguous, a batch of one of the programs, finite.
    """
    import torch

    if not isinstance(x, torch.Tensor):
        raise BadArtifact(f"the input is a {type(x).__name__}; give a {wanted} tensor")
    if x.dtype != getattr(torch, wanted.dtype):
        raise BadArtifact(f"the input is {str(x.dtype)[6:]}; give {wanted}")
    if x.ndim != 4 or tuple(x.shape[1:]) != wanted.shape:
        raise BadArtifact(f"the input has shape {tuple(x.shape)}; give {wanted}")
    if len(x) == 0:
        raise BadArtifact(f"the input's batch is empty; give {wanted} with N >= 1")
    if x.layout != torch.strided or not x.is_contiguous():
        layout = "NCHW" if wanted.dtype == "float32" else "NHWC"
        raise BadArtifact(f"the input is not contiguous {layout}; pass x.contiguous()")
    if x.is_floating_point() and not allow_nonfinite and not bool(torch.isfinite(x).all()):
        raise BadArtifact("the input holds NaN or infinity; clean it or allow it explicitly")
    for program in programs:
        if program.batch[0] <= len(x) <= program.batch[1]:
            return program
    batches = ", ".join("{}..{}".format(*program.batch) for program in programs)
    raise BadArtifact(f"the input's batch is {len(x)}; the artifact answers {batches}")


def padded(x: torch.Tensor, batch: tuple[int, int]) -> torch.Tensor:
    """Repeat rows from the start until x (N, ...) fills whole chunks of a program's batch.

    The chunks are those that docs/artifact.md gives for golden.safetensors, so Python and the
    runner see the same.
    """
    import torch

    lacking = -len(x) % chunk(len(x), batch)
    if not lacking:  # thousands of images take gigabytes
        return x.contiguous()
    return x[torch.arange(len(x) + lacking) % len(x)].contiguous()


def run_rows(program: Program, x: torch.Tensor, batch: tuple[int, int]) -> Returned:
    """Run N rows through a program of batches min..max: (N, C, H, W) -> (N, ...) per output."""
    import torch

    from compile.returned import as_returned, as_tuple, each

    with torch.no_grad():
        chunks = torch.split(padded(x, batch), chunk(len(x), batch))
        returned = [as_tuple(each(program(rows), lambda y: y.cpu().clone())) for rows in chunks]
    return as_returned([torch.cat(parts)[: len(x)] for parts in zip(*returned, strict=True)])


def chunk(rows: int, batch: tuple[int, int]) -> int:
    """How many of `rows` rows a program of batches min..max takes in one call."""
    return max(batch[0], min(rows, batch[1]))
