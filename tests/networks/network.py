"""What a network of the corpus is made of, and what is true of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

SHAPE = (3, 32, 32)
BATCH = (1, 8)
"""A range of batches, for networks that mix the images of a batch."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One row of a table: how a network is made, and whether it can be compiled."""

    make: Callable[[], nn.Module]
    """Makes it from torch's global seed; its docstring says in a sentence what it is."""
    truth: str = "sound"
    """`sound`: built and passed. `refuse: WHY`: never passed. `either: WHY`: both are right, as
    long as it is said in one line."""
    where: tuple[str, ...] = ()
    """What `refuse` is about: backends, as `onnx`, or one at one precision, as `onnx int8`. It is
    sound everywhere else. By default it is about everything."""
    shape: tuple[int, int, int] = SHAPE
    """Channels, height and width of one image."""
    batch: tuple[int, int] = (1, 1)
    """Smallest and largest batch to compile for."""

    def build(self, seed: int = 0) -> nn.Module:
        """The network in evaluation mode, as `seed` makes it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make().eval()

    def truth_for(self, backend: str, precision: str = "fp32") -> str:
        """`sound`, `refuse` or `either` for one backend at one precision."""
        if self.where and not {backend, f"{backend} {precision}"} & {*self.where}:
            return "sound"
        return self.truth.split(":")[0]


class Do(nn.Module):
    """A module whose forward is a function of its parts and the input: `Do(f, conv=...)`."""

    def __init__(self, function: Callable[[Any, torch.Tensor], Any], **parts: Any) -> None:
        """Modules and parameters become its own, tensors buffers, everything else attributes."""
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def forward(self, x: torch.Tensor) -> Any:
        """What the function gives."""
        return self.function(self, x)


def stem(width: int = 16, stride: int = 2, **options: Any) -> nn.Conv2d:
    """The first convolution: an image of 3 channels -> `width` channels."""
    return nn.Conv2d(3, width, 3, stride=stride, padding=1, **options)


def head(width: int, lead: float = 0.3) -> nn.Linear:
    """The last layer, in which class 3 is ahead by `lead`, as in a trained network."""
    layer = nn.Linear(width, 10)
    with torch.no_grad():
        layer.bias[3] += lead
    return layer


def net(*layers: nn.Module, width: int = 16, lead: float = 0.3) -> nn.Sequential:
    """The layers, then the mean over the image and a head that takes `width` features."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(width, lead))


def lively(norm: Any) -> Any:
    """A batch norm whose statistics are not those of a fresh one, which changes nothing."""
    nn.init.normal_(norm.running_mean, std=0.3)
    nn.init.uniform_(norm.running_var, 0.3, 2.0)
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.2)
    return norm
