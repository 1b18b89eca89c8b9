"""The data and the recipe of a training run, from the words that name them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from zoo.data import Data, load
from zoo.errors import Unavailable
from zoo.models import info
from zoo.training.recipe import Recipe, amended, find_recipe


def data_and_recipe(
    model: str,
    data: str,
    *,
    recipe: str = "fast",
    size: int | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
    skip_bad: bool = False,
    device: str = "cpu",
) -> tuple[Data, Recipe]:
    """Load the data set called `data`, and find the recipe that trains `model` on it.

    `size` is the height and width of the images in pixels. By default it is the data's own, or what
    the recipe takes. `settings` change fields of the recipe, as `name=value`. Errors are raised
    before the data is read: UsageError for an unknown word, Unavailable if the recipe compiles the
    network and there is no compiler.
    """
    depth, digits = info(model).depth, data == "digits"
    chosen = find_recipe(recipe, depth=depth, height=size or 64, digits=digits)
    chosen = amended(chosen, list(settings))
    if chosen.compile and device == "cpu" and shutil.which("g++") is None:
        raise Unavailable("compiling the network needs g++; install it, or train without --compile")
    size = size or (224 if chosen.area else 64)
    loaded = load(
        data,
        size=size,
        seed=seed,
        skip_bad=skip_bad,
        resize=round(size / chosen.test_crop) if chosen.test_crop < 1 else None,
        interpolation=chosen.interpolation,
    )
    chosen = find_recipe(recipe, depth=depth, height=loaded.shape[1], digits=digits)
    return loaded, amended(chosen, list(settings))
