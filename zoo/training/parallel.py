"""The processes that train one network together. Usually there is one; torchrun starts several.

torchrun --nproc-per-node 2 -m zoo train resnet18
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import distributed

from zoo.errors import Unavailable


@dataclass(frozen=True, kw_only=True)
class Group:
    """One process and its place among those that train together."""

    rank: int = 0
    """Which of them this is, from 0."""
    size: int = 1
    """How many there are."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    joined: bool = False
    """Whether they talk to each other: what torchrun started does, be it one process alone."""

    @property
    def leader(self) -> bool:
        """Whether this is the one process that writes."""
        return self.rank == 0

    def sums(self, *values: float) -> list[float]:
        """Sum each value over all processes, in float64. Every process gets the sums."""
        if not self.joined:
            return [float(value) for value in values]
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(together)
        return [float(value) for value in together]

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the leader's values, in place."""
        if self.joined:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def same(self, text: str) -> str:
        """The leader's `text`, on every process."""
        if not self.joined:
            return text
        box = [text]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def join(device: str) -> Iterator[Group]:
    """The group that torchrun's environment describes, over gloo on the CPU and nccl on GPUs.

    Raises Unavailable for a process that has no GPU of its own.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 and not distributed.is_torchelastic_launched():
        yield Group(device=torch.device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" and local >= torch.cuda.device_count():
        raise Unavailable(
            f"process {local} has no GPU of its own ({torch.cuda.device_count()} here); "
            "start at most that many with --nproc-per-node"
        )
    chosen = torch.device("cuda", local) if device == "cuda" else torch.device("cpu")
    if device == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Group(rank=distributed.get_rank(), size=size, device=chosen, joined=True)
    finally:
        distributed.destroy_process_group()
