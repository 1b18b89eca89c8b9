"""Sound networks that return something else than class scores."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from tests.networks.network import Do, Network, stem


class Found(NamedTuple):
    """What a detector returns for each place."""

    scores: torch.Tensor
    boxes: torch.Tensor


def scores_and_features() -> nn.Module:
    """Scores and features, as a tuple."""
    return nn.Sequential(stem(), nn.Flatten(), Do(lambda self, x: (x[:, :10], x)))


def feature_map() -> nn.Module:
    """A map of scores, one for each place of the image."""
    return nn.Sequential(stem(), nn.ReLU(), nn.Conv2d(16, 10, 1))


def one_value() -> nn.Module:
    """A regression: one number for each image."""
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(stem(), nn.ReLU(), pool, nn.Flatten(), nn.Linear(16, 1))


def number_of_each_image() -> nn.Module:
    """The same without a second dimension."""
    return nn.Sequential(one_value(), Do(lambda self, x: x[:, 0]))


def unit_embedding() -> nn.Module:
    """A vector of length 1, by which images are compared."""
    pool = nn.AdaptiveAvgPool2d(1)
    head = Do(lambda self, x: nn.functional.normalize(x))
    return nn.Sequential(stem(), nn.ReLU(), pool, nn.Flatten(), nn.Linear(16, 32), head)


def segmentation() -> nn.Module:
    """Scores of each class in each pixel, enlarged to the size of the image."""
    up = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False)
    return nn.Sequential(stem(), nn.MaxPool2d(4), nn.ReLU(), nn.Conv2d(16, 5, 1), up)


def pyramid() -> nn.Module:
    """Three levels, each half as large as the one before, in a dict."""

    def levels(self: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
        p3 = self.third(x).relu()
        p4 = self.fourth(p3).relu()
        return {"p3": p3, "p4": p4, "p5": self.fifth(p4)}

    steps = {
        name: nn.Conv2d(16, 16, 3, 2, 1, padding_mode=mode)
        for name, mode in (("third", "zeros"), ("fourth", "reflect"), ("fifth", "zeros"))
    }
    return nn.Sequential(stem(), nn.ReLU(), Do(levels, **steps))


def detector() -> nn.Module:
    """Scores and boxes in a named tuple, inside a dict that also holds None."""

    def heads(self: nn.Module, x: torch.Tensor) -> dict[str, object]:
        found = Found(scores=self.scores(x).flatten(2), boxes=self.boxes(x).flatten(2))
        return {"found": found, "masks": None, "features": [x]}

    parts = {"scores": nn.Conv2d(16, 6, 1), "boxes": nn.Conv2d(16, 4, 1)}
    return nn.Sequential(stem(), nn.ReLU(), nn.MaxPool2d(2), Do(heads, **parts))


def tokens() -> nn.Module:
    """A sequence of vectors, as a transformer's body gives it."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    body = Do(lambda self, x: self.layer(x.flatten(2).transpose(1, 2)), layer=layer)
    return nn.Sequential(stem(), nn.MaxPool2d(4), body)


def same_twice() -> nn.Module:
    """One tensor under two names, and a view of it under a third."""
    again = Do(lambda self, x: {"map": x, "again": x, "vector": x.flatten(1)})
    return nn.Sequential(stem(), nn.ReLU(), nn.MaxPool2d(4), again)


def dead_channels() -> nn.Module:
    """A map of which most channels are always zero."""
    network = nn.Sequential(stem(), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
    with torch.no_grad():
        assert isinstance(network[2], nn.Conv2d) and network[2].bias is not None
        network[2].bias[4:] = -100.0
    return network


def sizes_apart() -> nn.Module:
    """Two outputs of which one is a million times as large as the other."""
    return nn.Sequential(stem(), nn.ReLU(), Do(lambda self, x: (1e-3 * x, 1e3 * x.mean((2, 3)))))


def image_itself() -> nn.Module:
    """The image as it was given, beside its features."""
    return Do(lambda self, x: (x, self.features(x)), features=nn.Sequential(stem(), nn.ReLU()))


def anchors() -> nn.Module:
    """Scores, and the places of the anchors, which are the same for all images."""

    def heads(self: Do, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scores": self.scores(x), "places": self.places.expand(x.shape[0], -1, -1)}

    parts = {"scores": nn.Conv2d(16, 6, 1), "places": torch.rand(9, 4)}
    return nn.Sequential(stem(), nn.ReLU(), Do(heads, **parts))


def constant_maps() -> nn.Module:
    """Features, zeros in their shape, and a map that is the same for all images."""

    def maps(self: Do, x: torch.Tensor) -> dict[str, torch.Tensor]:
        same = self.same.expand(x.shape[0], -1, -1, -1)
        return {"features": x, "zeros": torch.zeros_like(x), "same": same}

    return nn.Sequential(stem(), nn.ReLU(), Do(maps, same=torch.rand(1, 4, 5, 5)))


_ALL = (
    *(scores_and_features, feature_map, one_value, number_of_each_image, unit_embedding),
    *(segmentation, pyramid, detector, tokens, same_twice, dead_channels, sizes_apart),
    *(image_itself, anchors, constant_maps),
)
TABLE = {each.__name__: Network(make=each) for each in _ALL}
