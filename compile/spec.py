"""What to compile for: input shape, batches, precision, device and CPU target."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compile.errors import UsageError

if TYPE_CHECKING:
    import torch

MAX_BATCH = 4096
MAX_INPUT_BYTES = 2**30
"""Largest input. A range is proved at its largest batch, which must fit into memory easily."""

ROWS = 16
"""Ordinary samples that every artifact is proved on. The hostile ones follow them."""

MAX_ROWS = 64
"""Most samples that a proof may have. There are fewer than 16 hostile ones today."""

INPUT_TYPES = ("float32", "uint8")


@dataclass(frozen=True, kw_only=True)
class CompileSpec:
    """One request for one artifact. Shapes leave out the batch."""

    shape: tuple[int, int, int]
    """Channels, height and width of one sample."""
    batch: tuple[int, int] = (1, 1)
    """Smallest and largest batch that the artifact answers. Equal for a static program."""
    precision: str = "fp32"
    """A name in compile.precision.PRECISIONS."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    target: str = "native"
    """-march level of CPU code. `native` is the nearest named level of this machine."""
    input_type: str = "float32"
    """`float32`: NCHW, preprocessed. `uint8`: NHWC bytes, normalised inside the program."""
    portable: bool = False
    """Whether a TensorRT engine runs on every GPU from Ampere on, at some cost in speed."""
    named_level: bool = False
    """Whether `target` was asked for by name. Then every CPU of that level must run it well."""
    gpus: tuple[str, ...] = ()
    """The GPUs to build for, such as `sm_89`, ascending; empty for the one that is here."""
    outputs: tuple[str, ...] = ("logits",)
    """The names of the outputs, in their order. They are the network's: compiling fills them in."""

    def __post_init__(self) -> None:
        low, high = self.batch
        if not 1 <= low <= high <= MAX_BATCH:
            raise UsageError(
                f"batch {low}:{high} is not a range; use 1 <= smallest <= largest <= {MAX_BATCH}"
            )
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise UsageError(f"--input {self.shape} is not channels x height x width, all above 0")
        if self.input_type not in INPUT_TYPES:
            raise UsageError(
                f"unknown input type '{self.input_type}'; choose one of: {', '.join(INPUT_TYPES)}"
            )
        per_sample = 4 * math.prod(self.shape)
        if max(high, 2 * ROWS) * per_sample > MAX_INPUT_BYTES:
            largest = MAX_INPUT_BYTES // per_sample
            advice = (
                f"the largest batch for it is {largest}" if largest >= 2 * ROWS else "use a smaller"
            )
            raise UsageError(
                f"batch {high} of --input {'x'.join(map(str, self.shape))} is more than "
                f"{MAX_INPUT_BYTES >> 20} MiB with the samples of the proof; {advice}"
            )

    @property
    def dynamic(self) -> bool:
        """Whether one program answers several batch sizes."""
        return self.batch[0] != self.batch[1]

    @property
    def batch_text(self) -> str:
        """`1`, or `1-64` for a range: the form used in folder names."""
        low, high = self.batch
        return f"{low}-{high}" if self.dynamic else str(low)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one sample as it lies in memory: (C, H, W), or (H, W, C) for bytes."""
        channels, height, width = self.shape
        return self.shape if self.input_type == "float32" else (height, width, channels)

    def example(self, seed: int = 0) -> torch.Tensor:
        """A seeded input to export with, on the CPU: normal (N, C, H, W), or bytes (N, H, W, C).

        A dynamic program is exported at a batch of 2 if its range allows, because torch.export
        makes constants of 0 and 1.
        """
        import torch

        low, high = self.batch
        size = max(low, min(high, 2)) if self.dynamic else low
        generator = torch.Generator().manual_seed(seed)
        if self.input_type == "uint8":
            shape = (size, *self.input_shape)
            return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return torch.randn((size, *self.shape), generator=generator)

    def dynamic_shapes(self) -> Any:
        """The `dynamic_shapes` for torch.export: the range of the batch, or None if static."""
        if not self.dynamic:
            return None
        from torch.export import Dim

        return ({0: Dim("batch", min=self.batch[0], max=self.batch[1])},)


def parse_batch(text: str) -> tuple[int, int]:
    """Read `8` or `1:64`. Anything else is a UsageError."""
    match = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    if not match:
        raise UsageError(f"--batch '{text}' is not a number or a range; write 8 or 1:64")
    low = int(match[1])
    return low, int(match[2]) if match[2] else low


def parse_gpus(text: str) -> tuple[str, ...]:
    """Read `sm_89,sm_120` in ascending order, each once. Anything else is a UsageError."""
    names = text.split(",")
    if not all(re.fullmatch(r"sm_[0-9]{2,3}", name) for name in names):
        raise UsageError(f"--gpu '{text}' names no GPUs; write sm_89 or sm_89,sm_120")
    return tuple(sorted(set(names), key=lambda name: int(name.removeprefix("sm_"))))


def parse_shape(text: str) -> tuple[int, int, int]:
    """Read `1x3x224x224` or `3x224x224` as (C, H, W). The leading batch must be 1."""
    match = re.fullmatch(r"(?:1x)?([0-9]{1,5})x([0-9]{1,5})x([0-9]{1,5})", text)
    if not match:
        raise UsageError(f"--input '{text}' is not a shape; write 1xCxHxW, such as 1x3x224x224")
    return int(match[1]), int(match[2]), int(match[3])
