"""The places in the zoo's networks that have a name: `c1` to `c5`, and `features`.

`c1` is what the stem gives, before any pooling. `c2` to `c5` are what the stages give: conv2_x to
conv5_x in table 1 of the ResNet paper. Networks for CIFAR have three stages, so they end with `c4`.
`features` is what the classifier sees: the means over the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_STAGES = {"c1": "relu", "c2": "layer1", "c3": "layer2", "c4": "layer3", "c5": "layer4"}
_STAGES["features"] = "fc:input"

_PREACT = {f"c{2 + index}": f"stages.{index}" for index in range(4)}
_PREACT["features"] = "head.fc:input"
"""A unit ends with a sum here, so no ReLU follows a stage; timm's names mean the same places."""

LEVELS = {
    "ResNet": _STAGES,
    "CifarResNet": _STAGES,
    "TrickResNet": _STAGES,
    "PreActResNet": {"c1": "stem.conv", **_PREACT},
}
"""Class of network -> name -> place: a module's path, or `PATH:input` for what it is given."""

_DEEP_STEM = {"c1": "stem.conv3"}


def levels(network: nn.Module) -> dict[str, str] | None:
    """Name -> place of one of the zoo's networks; None for a network from elsewhere.

    >>> levels(build("resnet18"))["c3"]
    'layer2'
    """
    row = LEVELS.get(type(network).__name__)
    if row is None or not type(network).__module__.startswith("zoo.models."):
        return None
    paths = {path for path, _ in network.named_modules()}
    if "stem.conv3" in paths:
        row = row | _DEEP_STEM
    return {name: place for name, place in row.items() if place.removesuffix(":input") in paths}
