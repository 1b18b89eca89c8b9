"""What the names of --output mean in networks of the zoo, of timm and of others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import UsageError, ZooError
from zoo.models import build, names
from zoo.models.levels import LEVELS, levels
from zoo.sources.outputs import calls_of, find_outputs, named_outputs, parse_outputs
from zoo.sources.source import Source

IMAGENET = {"resnet18": 512, "plain18": 512, "resnet18d": 512, "resnetrs50": 2048}
PREACT = {"resnetv2_18": 512, "resnetv2_18d": 512}
CIFAR = {"resnet20": 64, "plain20": 64, "preact110": 64}
"""One of each kind of network, and how many features it has."""


def source(network: nn.Module, shape: tuple[int, int, int] = (3, 64, 64)) -> Source:
    return Source(name="net", network=network.eval(), shape=shape, native=shape, origin="test")


def shape_at(found: Source, place: str) -> tuple[int, ...] | None:
    """Of one sample, where one run of the network shows it."""
    path, colon, _ = place.partition(":")
    call = next(each for each in calls_of(found) if each.path == path)
    return call.given if colon else call.returned


@pytest.mark.parametrize(("name", "count"), [*IMAGENET.items(), *PREACT.items(), *CIFAR.items()])
def test_the_levels_of_the_zoos_networks(name: str, count: int) -> None:
    found = source(build(name, seed=0))
    known = named_outputs(found)
    stages = 3 if name in CIFAR else 4
    assert set(known) == {"logits", "features", *(f"c{level + 1}" for level in range(stages + 1))}
    features = shape_at(found, known["features"])
    assert features == ((count, 1, 1) if name in PREACT or "preact" in name else (count,))
    sizes = [shape_at(found, known[f"c{level + 1}"]) for level in range(stages + 1)]
    sides = [64, 64, 32, 16] if name in CIFAR else [32, 16, 8, 4, 2]
    assert [size and size[1:] for size in sizes] == [(side, side) for side in sides]
    assert sizes[-1] is not None and sizes[-1][0] == count


def test_every_network_of_the_zoo_has_levels() -> None:
    with torch.device("meta"):
        kinds = {type(build(name)).__name__ for name in names("*18*") + names("*20")}
    assert kinds <= set(LEVELS)
    assert levels(nn.Sequential()) is None


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 5)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean((2, 3))).softmax(1)


class Dict(Small):
    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"map": self.conv(x), "scores": self.head(self.conv(x).mean((2, 3)))}


class Pair(Small):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        y = self.conv(x)
        return y, self.head(y.mean((2, 3)))


class TwoHeads(Small):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).mean((2, 3))
        return (self.head(y) + self.other(y)) / 2


class Twice(Small):
    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.conv(x).mean((2, 3)))
        return self.head(nn.functional.pad(y, (0, 3)))


def test_the_features_of_other_networks() -> None:
    assert named_outputs(source(Small())) == {"logits": "", "features": "head:input"}
    for unclear in (Dict(), Twice(), TwoHeads(), nn.Flatten()):
        assert "features" not in named_outputs(source(unclear))
        with pytest.raises(UsageError, match="it is not clear what the features of net are"):
            find_outputs(source(unclear), {"features": None})


def test_a_network_is_not_run_for_a_path_with_a_name() -> None:
    broken = source(nn.Sequential(nn.Linear(7, 7)))
    assert find_outputs(broken, {"all": "0", "given": "0:input"}) == {
        "all": "0",
        "given": "0:input",
    }
    with pytest.raises(ZooError, match="net cannot be run: mat1 and mat2"):
        find_outputs(broken, {"0": None})


def test_each_tensor_that_a_network_returns_has_a_name() -> None:
    """A key comes before a path of the same name."""
    both = source(Dict())
    assert named_outputs(both) == {"map": ":map", "scores": ":scores"}
    assert find_outputs(both, parse_outputs(["scores,inner=:map,conv"])) == {
        "scores": ":scores",
        "inner": ":map",
        "conv": "conv",
    }
    pair = source(nn.Sequential(Pair()))
    assert find_outputs(pair, parse_outputs(["a=0:output1"])) == {"a": "0:output1"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("x=:boxes", "net returns no tensor 'boxes'; it returns map, scores"),
        ("x=conv:out", "module 'conv' of net returns no tensor 'out'; write x=conv"),
        ("x=cnov:out", "net has no module 'cnov'; did you mean conv?"),
        ("logits", "net has no output 'logits'; it has map, scores, and each module by its path"),
    ],
)
def test_a_tensor_that_is_not_returned(given: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_outputs(source(Dict()), parse_outputs([given]))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("resnet18d", {"c1": "act1", "c2": "layer1", "c5": "layer4", "features": "fc:input"}),
        ("vit_tiny_patch16_224", {"c4": "blocks.11", "features": "head:input"}),
        ("densenet121", {"c5": "features.norm5", "features": "classifier:input"}),
        ("deit_tiny_distilled_patch16_224", {"c4": "blocks.11"}),
    ],
)
def test_the_levels_of_timm(name: str, known: dict[str, str], libraries: SimpleNamespace) -> None:
    found = source(libraries.timm.create_model(name), (3, 224, 224))
    said = named_outputs(found)
    assert known.items() <= said.items()
    assert ("features" in said) is ("features" in known), "of two classifiers none is the one"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], {}),
        (["c3,c4", "layer3"], {"c3": None, "c4": None, "layer3": None}),
        (["mid=layer3.0.conv2, x=fc:input"], {"mid": "layer3.0.conv2", "x": "fc:input"}),
    ],
)
def test_names_are_read(given: list[str], wanted: dict[str, str | None]) -> None:
    assert parse_outputs(given) == wanted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "'' is not a name or NAME=PATH"),
        ("c3,", "'' is not a name"),
        ("mid=", "'mid=' is not a name"),
        ("=layer3", "'=layer3' is not a name"),
        ("../x", "'../x' is not a name"),
        ("fc:input", "fc:input needs a name, such as features=fc:input"),
        ("fpn:output1", "fpn:output1 needs a name, such as output1=fpn:output1"),
        ("c3,c4,c3", "names 'c3' twice"),
        (",".join(f"x{i}" for i in range(17)), "17 outputs; the most are 16"),
        (",".join(i * 60 for i in "abc"), "longer than 150 letters"),
        ("list,c3", "list stands alone"),
    ],
)
def test_names_that_cannot_be_meant(given: str, said: str) -> None:
    with pytest.raises(UsageError, match="--output") as caught:
        parse_outputs([given])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("c5", "net has no output 'c5'; it has logits, features, c1, c2, c3, c4, and each module"),
        ("layer3.0.conv4", "net has no output 'layer3.0.conv4'; did you mean layer3.0.conv"),
        ("feature", "did you mean features?"),
        ("x=layer9", "net has no module 'layer9'; did you mean layer"),
        ("x=zzz:input", "net has no module 'zzz'; `--output list` shows"),
        ("x=c3", "'c3' is a name; write c3 alone, or x=layer2"),
    ],
)
def test_what_a_network_lacks(given: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_outputs(source(build("resnet20", seed=0)), parse_outputs([given]))
    assert said in str(caught.value)


def test_names_come_before_paths() -> None:
    """A module may be called features; its path is reached under a name of one's own."""
    network = nn.Sequential()
    network.add_module("features", nn.Conv2d(3, 8, 64))
    network.add_module("flat", nn.Flatten())
    network.add_module("last", nn.Linear(8, 2))
    found = find_outputs(source(network), parse_outputs(["features", "map=features"]))
    assert found == {"features": "last:input", "map": "features"}
