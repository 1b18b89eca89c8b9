"""What is measured: the cells of the table, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from compile import machine

SIZE = 224
STREAMS = 2
"""Of the cells that measure throughput; fewer where there are fewer cores."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row of the table. It is also what names the row in the file."""

    network: str
    precision: str
    batch: int
    threads: int
    """In all."""
    streams: int
    """1: the latency of calls one after another. More: the most calls in the time."""
    size: int = SIZE
    """Height and width."""

    @property
    def key(self) -> tuple[str, ...]:
        """Rows that say the same have the same key."""
        return tuple(map(str, asdict(self).values()))

    def __str__(self) -> str:
        """`resnet50 fp32 b1, 2 threads`."""
        text = f"{self.network} {self.precision} b{self.batch}, {self.threads} thread"
        text += "s" if self.threads > 1 else ""
        text += f", {self.streams} streams" if self.streams > 1 else ""
        return text + (f", {self.size}x{self.size}" if self.size != SIZE else "")


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The same of a row that was read from a file."""
    return tuple(str(row[name]) for name in Cell.__dataclass_fields__)


RESNET = "resnet50"
PRECISIONS = ("fp32", "bf16", "int8")
OTHERS = ("resnet18", "resnext50_32x4d", "timm:mobilenetv3_large_100")


def all_cells(size: int = SIZE) -> list[Cell]:
    """Every cell; those of a precision that this CPU only emulates are left out."""
    return [
        Cell(
            network=network,
            precision=precision,
            batch=batch,
            threads=threads,
            streams=streams,
            size=size,
        )
        for network, precision, batch, threads, streams in _cells(machine.usable_cores())
        if machine.emulated(precision, "cpu") is None
    ]


def _cells(cores: int) -> Iterator[tuple[str, str, int, int, int]]:
    both = sorted({1, min(2, cores)}, reverse=True)
    for batch in (1, 8, 32):
        for precision in PRECISIONS:
            for threads in both:
                yield RESNET, precision, batch, threads, 1
            if batch == 1:
                yield from _throughput(precision, cores)
        if batch == 1:
            for network in OTHERS:
                yield network, PRECISIONS[0], 1, both[0], 1


def _throughput(precision: str, cores: int) -> Iterator[tuple[str, str, int, int, int]]:
    """By streams, if there are cores enough for two of them."""
    if cores >= STREAMS:
        yield RESNET, precision, 1, cores, cores
