"""What a program returns: one or several named tensors, and the pieces in which they are judged.

A proof looks at the values of all outputs of one sample as one row. Large outputs are thinned: the
row has the values at some positions only. An output of two or more dimensions is judged as a whole,
and its channels' borders and interiors each by itself. docs/artifact.md, "Parts", has the rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from compile.errors import BadArtifact
from compile.returned import Returned, as_tuple

MAX_GROUPS = 4096
"""More channels than this are judged in groups of neighbours."""

REGIONS = ("border", "interior")


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One output of a program."""

    name: str
    shape: tuple[int, ...]
    """Of one sample."""
    scores: bool = False
    """Whether its values are scores of classes, of which one is the most likely."""
    positions: torch.Tensor | None = None
    """(P,) int64, ascending: which values of a sample the proof looks at, or None for all."""

    @property
    def kept(self) -> int:
        """How many values of a sample the proof looks at."""
        return math.prod(self.shape) if self.positions is None else len(self.positions)

    @property
    def groups(self) -> int:
        """How many groups of channels are judged by themselves; 0 for a vector or a scalar."""
        return min(self.shape[0], MAX_GROUPS) if len(self.shape) > 1 else 0

    def parts(self) -> torch.Tensor:
        """(kept,) int64: the part that each value is in: 2 * group, and 1 more in the interior."""
        places = torch.arange(math.prod(self.shape)) if self.positions is None else self.positions
        channel, *rest = torch.unravel_index(places, self.shape)
        border = torch.zeros(len(places), dtype=torch.bool)
        for index, extent in zip(rest, self.shape[1:], strict=True):
            border |= (index == 0) | (index == extent - 1)
        return 2 * (channel * self.groups // self.shape[0]) + (~border).long()


class Layout:
    """The outputs of a program, and where the values of each stand in a row.

    A row's pieces are, for each output, the whole of it, then the border and the interior of each
    of its groups of channels.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.outputs = tuple(outputs)
        self.columns: list[slice] = []
        """Of each output, in a row."""
        self.pieces: list[slice] = []
        """Of each output, among all pieces; its whole comes first."""
        column = piece = 0
        for output in self.outputs:
            self.columns.append(slice(column, column + output.kept))
            self.pieces.append(slice(piece, piece + 1 + 2 * output.groups))
            column, piece = self.columns[-1].stop, self.pieces[-1].stop
        self.width = column

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(output.name for output in self.outputs)

    @property
    def scores(self) -> slice | None:
        """The columns of the first output that holds scores of classes; None if none does."""
        pairs = zip(self.outputs, self.columns, strict=True)
        return next((columns for output, columns in pairs if output.scores), None)

    @cached_property
    def owners(self) -> torch.Tensor:
        """(pieces,) int64: the piece that is the whole of each piece's output."""
        counts = torch.tensor([1 + 2 * output.groups for output in self.outputs])
        return torch.tensor([each.start for each in self.pieces]).repeat_interleave(counts)

    @cached_property
    def _parts(self) -> list[torch.Tensor | None]:
        return [output.parts() if output.groups else None for output in self.outputs]

    def check(self, returned: Returned) -> tuple[torch.Tensor, ...]:
        """The outputs as a tuple; BadArtifact unless they are float32 of the wanted shapes."""
        given = as_tuple(returned)
        rows = len(given[0]) if given and given[0].ndim else 0
        wanted = [(rows, *output.shape) for output in self.outputs]
        if [tuple(each.shape) for each in given] != wanted:
            shapes = ", ".join(str(tuple(each.shape)) for each in given)
            raise BadArtifact(
                f"the program returned {shapes}, expected {', '.join(map(str, wanted))}"
            )
        return given

    def join(self, returned: Returned) -> torch.Tensor:
        """Rows (N, width) of the values that the proof looks at."""
        pairs = zip(as_tuple(returned), self.outputs, strict=True)
        rows = [_row(values, output) for values, output in pairs]
        return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)

    def rms(self, rows: torch.Tensor) -> torch.Tensor:
        """Root mean square of each piece: (N, width) -> (N, pieces) float64; 0 for an empty one."""
        squares = rows.double().square()
        found = []
        for output, columns, parts in zip(self.outputs, self.columns, self._parts, strict=True):
            own = squares[:, columns]
            found.append(own.mean(dim=1, keepdim=True))
            if parts is not None:
                sums = own.new_zeros(len(own), 2 * output.groups).index_add_(1, parts, own)
                counts = torch.bincount(parts, minlength=2 * output.groups)
                found.append(sums / counts.clamp_min(1))
        return torch.cat(found, dim=1).sqrt()

    def where(self, piece: int) -> str:
        """A piece in words: nothing for the whole of the only output."""
        pairs = zip(self.outputs, self.pieces, strict=True)
        output, own = next((output, own) for output, own in pairs if piece < own.stop)
        words = [output.name] if len(self.outputs) > 1 else []
        if piece > own.start:
            group, region = divmod(piece - own.start - 1, 2)
            channel = -(-group * output.shape[0] // output.groups)
            words += [f"channel {channel}", REGIONS[region]]
        return ", ".join(words)


def _row(values: torch.Tensor, output: Output) -> torch.Tensor:
    """The kept values (N, kept) of one output (N, ...)."""
    flat = values if values.ndim == 2 else values.reshape(len(values), -1)
    return flat if output.positions is None else flat[:, output.positions]
