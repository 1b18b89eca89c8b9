"""What MODEL on the command line becomes, for networks of other sizes than ImageNet's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo.data import load_digits_split
from zoo.errors import UsageError
from zoo.sources.source import resolve
from zoo.training.recipe import Recipe
from zoo.training.train import Work, train

QUIET = Work(quiet=True)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("resnet20", (3, 32, 32), 10), ("resnet18", (3, 224, 224), 1000)],
)
def test_fresh_weights_take_the_published_size(
    name: str, shape: tuple[int, int, int], classes: int, tmp_path: Path
) -> None:
    source = resolve(name, runs=tmp_path, fresh=True)
    assert (source.shape, source.native) == (shape, shape)
    with torch.inference_mode():
        assert source.network(torch.zeros(1, *shape)).shape == (1, classes)


def test_fresh_weights_take_another_shape(tmp_path: Path) -> None:
    source = resolve("plain20", runs=tmp_path, fresh=True, shape=(1, 8, 8))
    assert (source.shape, source.native) == ((1, 8, 8), (1, 32, 32))


def test_an_unknown_name_is_answered(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean .*resnet20"):
        resolve("resnet21", runs=tmp_path)


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_a_network_without_a_choice_of_stem_is_trained(name: str, tmp_path: Path) -> None:
    run = train(name, load_digits_split(), recipe=Recipe(epochs=1), out=tmp_path, work=QUIET)
    assert run.config.options == {"num_classes": 10, "in_channels": 1}
    assert resolve(name, runs=tmp_path).shape == (1, 8, 8)
