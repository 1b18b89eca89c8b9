"""The files that hold the networks, each a table of rows and a function that builds one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from zoo.models import antialias, attention, cifar, plain, preact, resnet, resnetrs, tricks


class Family(Protocol):
    """A module of this package: a table of rows, and what can be made of a row's name."""

    @property
    def VARIANTS(self) -> Mapping[str, Any]: ...

    def build(self, name: str, **options: Any) -> nn.Module: ...


FAMILIES: tuple[Family, ...] = (
    resnet,
    cifar,
    plain,
    preact,
    tricks,
    attention,
    antialias,
    resnetrs,
)
