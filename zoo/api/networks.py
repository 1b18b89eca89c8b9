"""Networks by name, and training one: `zoo.list_models`, `zoo.train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.models import names

if TYPE_CHECKING:
    from zoo.runs.checkpoint import Run


def list_models(pattern: str | None = None, *, family: str | None = None) -> list[str]:
    """Return the names of the networks, as `zoo list` shows them.

    `pattern` is a glob for the whole name if it holds `*`, `?` or `[`, else a part of the name.
    An unknown family is a UsageError that lists those there are.

    >>> list_models("resnext50_*")
    ['resnext50_32x4d']
    """
    return names(pattern, family=family)


def train(
    model: str,
    *,
    data: str | Path = "digits",
    size: int | None = None,
    recipe: str = "fast",
    epochs: int | None = None,
    precision: str | None = None,
    settings: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
    if_needed: bool = False,
    skip_bad: bool = False,
    workers: int | None = None,
    save_every: float = 30.0,
    root: str | Path = "runs",
    seed: int = 0,
    device: str = "cpu",
    quiet: bool = False,
) -> Run:
    """Train the network called `model` and return the run, which lies below `root`.

    Args:
        data: `digits`, `cifar10`, `cifar100`, `synthetic` or a folder with one folder of images
            for each class.
        size: height and width of the images in pixels; by default the data's, or the recipe's.
        recipe: `fast`, `paper`, `torchvision-v2`, `rsb-a2` or `rsb-a3`.
        epochs: how often all images are seen; by default the recipe's.
        precision: `fp32` or `bf16`; by default the recipe's.
        settings: other fields of the recipe, such as `{"lr": 0.05}`.
        options: options of the network, such as `{"shortcut": "B"}`.
        if_needed: return the newest run of `model` if the same training made it.
        skip_bad: leave out images that cannot be read.
        workers: processes that decode images; by default as many as there are cores.
        save_every: seconds between two saved states, from which `zoo train --resume` continues.
        seed: everything random derives from it.
        device: `cpu` or `cuda`.
        quiet: print no progress on stderr.

    Raises:
        UsageError: an unknown network, data set, recipe, setting or option.
        BadArtifact: images that cannot be used.
        CheckFailed: a loss that is not finite.
        Unavailable: data that cannot be fetched, a full disk, no GPU.

    >>> run = train("resnet20", epochs=1, quiet=True)
    >>> run.config.results.test_accuracy
    """
    from compile.machine import usable_cores
    from zoo.training.choosing import data_and_recipe
    from zoo.training.parallel import join
    from zoo.training.train import Work, find_same, run_config
    from zoo.training.train import train as train_network

    words = _words({"epochs": epochs, "precision": precision, **(settings or {})})
    chosen = dict(options or {})
    with join(device) as group:
        images, how = data_and_recipe(
            model,
            str(data),
            recipe=recipe,
            size=size,
            settings=words,
            seed=seed,
            skip_bad=skip_bad,
            device=device,
        )
        parts, where = group.size, group.device.type
        asked = run_config(
            model, images, how, seed=seed, options=chosen, processes=parts, device=where
        )
        if if_needed and (same := find_same(root, asked)) is not None:
            return same
        workers = usable_cores() // group.size if workers is None else workers
        quiet = quiet or not group.leader
        work = Work(group=group, workers=workers, save_every=save_every, quiet=quiet)
        return train_network(
            model, images, recipe=how, seed=seed, out=root, options=chosen, work=work
        )


def _words(settings: Mapping[str, object]) -> list[str]:
    """The settings as `zoo train --set` takes them; None is left out."""
    return [f"{name}={value}" for name, value in settings.items() if value is not None]
