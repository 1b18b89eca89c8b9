"""The speed of a training, measured side by side with a plain loop."""

from __future__ import annotations

import pytest

from zoo.data import load
from zoo.models import build
from zoo.training.recipe import Recipe
from zoo.training.speed import _speed, profile
from zoo.training.trainer import Trainer

OPTIONS = {"in_channels": 1, "num_classes": 4}


def test_every_loop_is_measured_against_the_plain_one() -> None:
    data = load("synthetic:4:64", size=8, channels=1)
    network = build("resnet20", seed=0, **OPTIONS)
    trainer = Trainer(network, data, Recipe(epochs=1000, batch=16, accumulate=2), seed=0)
    speeds = {s.name: s for s in profile(trainer, "resnet20", OPTIONS, seconds=0)}
    assert list(speeds) == [
        *("plain loop", "steps alone", "loading alone", "loading, augmenting", "training")
    ]
    assert all(speed.n == 6 and speed.interval is not None for speed in speeds.values())
    assert speeds["plain loop"].over_plain == 1.0
    assert speeds["loading alone"].images_per_s > speeds["training"].images_per_s


def test_a_speed_is_that_of_the_median_and_a_ratio_that_of_the_rounds() -> None:
    """Rounds of 2 and 4 times the plain time, whatever the plain time of the round was."""
    plain = [1_000_000, 3_000_000, 2_000_000, 8_000_000, 5_000_000, 4_000_000]
    speed = _speed("x", [2 * each for each in plain], plain, 10)
    assert speed.over_plain == pytest.approx(0.5)
    assert speed.over_plain_interval == pytest.approx((0.5, 0.5))
    assert speed.images_per_s == pytest.approx(10 / 0.006)
    assert speed.interval == pytest.approx((10 / 0.016, 10 / 0.002))
