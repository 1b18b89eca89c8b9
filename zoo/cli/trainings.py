"""What `zoo train` does with its options: data and a recipe, then train, resume or measure."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.options import GO_ON
from zoo.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from zoo.data import Data
    from zoo.runs.checkpoint import Run, RunConfig
    from zoo.training.parallel import Group
    from zoo.training.recipe import Recipe
    from zoo.training.train import Work


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options of `zoo train`."""

    model: str | None
    data: str
    size: int | None
    recipe: str
    settings: list[str]
    """Fields of the recipe, as `name=value`."""
    options: list[str]
    """Options of the network, as `name=value`."""
    seed: int
    out: Path
    device: str | None
    workers: int | None
    skip_bad: bool
    save_every: float
    quiet: bool
    json: bool


def run_training(order: Order, *, resume: Path | None, if_needed: bool) -> None:
    """Train or go on, and say what came out; under torchrun only the leader says it."""
    try:
        _run_training(order, resume, if_needed)
    except KeyboardInterrupt as stop:
        GO_ON.extend(text for text in map(str, stop.args) if text)
        raise


def _run_training(order: Order, resume: Path | None, if_needed: bool) -> None:
    from zoo.training import train as training
    from zoo.training.memory import keep_freed_memory
    from zoo.training.parallel import join

    keep_freed_memory()
    began = _began(resume) if resume is not None else None
    with join(order.device or (began.device if began else "cpu")) as group:
        work = _work(order, group)
        verb = "trained"
        if resume is not None and began is not None:
            run = training.resume(resume, _data_of(resume, began), work=work)
        else:
            data, recipe = _prepared(order)
            options = _network_options(order.options)
            config = training.run_config(
                order.model or "",
                data,
                recipe,
                seed=order.seed,
                options=options,
                processes=group.size,
                device=group.device.type,
            )
            same = training.find_same(order.out, config) if if_needed else None
            verb = "kept" if same else "trained"
            run = same or training.train(
                order.model or "",
                data,
                recipe=recipe,
                seed=order.seed,
                out=order.out,
                options=options,
                work=work,
            )
        if group.leader:
            _report(run, verb, json=order.json)


def _prepared(order: Order) -> tuple[Data, Recipe]:
    """The data and the recipe that an order means; what cannot be is said before data is read."""
    from zoo.data import load
    from zoo.models import info
    from zoo.training.recipe import amended, find_recipe

    depth, digits = info(order.model or "").depth, order.data == "digits"
    height = order.size or 64
    first = amended(
        find_recipe(order.recipe, depth=depth, height=height, digits=digits), order.settings
    )
    size = order.size or (224 if first.area else 64)
    data = load(
        order.data,
        size=size,
        seed=order.seed,
        skip_bad=order.skip_bad,
        resize=round(size / first.test_crop) if first.test_crop < 1 else None,
        interpolation=first.interpolation,
    )
    recipe = find_recipe(order.recipe, depth=depth, height=data.shape[1], digits=digits)
    recipe = amended(recipe, order.settings)
    if recipe.compile and order.device in (None, "cpu") and shutil.which("g++") is None:
        raise Unavailable("--compile needs g++; install it, or train without")
    return data, recipe


def _began(folder: Path) -> RunConfig:
    """What an unfinished run was begun with."""
    from zoo.cli.options import check_device
    from zoo.runs.checkpoint import read_config
    from zoo.runs.draft import TRAINING

    if not (folder / TRAINING).exists():
        raise UsageError(f"no unfinished run at {folder}; `zoo list` shows those there are")
    config = read_config(folder / TRAINING)
    check_device(config.device)
    return config


def _data_of(folder: Path, began: RunConfig) -> Data:
    """The data that an unfinished run was trained on."""
    from zoo.sources.source import load_data

    data = load_data(began, only_test=False)
    if data is None:
        raise UsageError(f"{folder} names no data set, so it cannot go on")
    return data


def _work(order: Order, group: Group) -> Work:
    from compile.machine import usable_cores
    from zoo.training.train import Work

    workers = order.workers if order.workers is not None else usable_cores() // group.size
    return Work(
        group=group,
        workers=max(0, workers),
        save_every=order.save_every,
        quiet=order.quiet or not group.leader,
    )


def _network_options(settings: list[str]) -> dict[str, Any]:
    """`name=value` options of a network; numbers and true or false are what they look like."""
    options: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or not name:
            raise UsageError(f"--option {setting}: write name=value, such as shortcut=B")
        plain: dict[str, Any] = {"true": True, "false": False}
        options[name] = plain.get(text, int(text) if text.isdecimal() else text)
    return options


def _report(run: Run, verb: str, *, json: bool) -> None:
    from compile.report import percent, show, to_json

    if json:
        trained = {"run": str(run.folder), "trained": verb == "trained"}
        print(to_json(trained | asdict(run.config)), end="")
        return
    results = run.config.results
    assert results is not None
    show(
        f"{verb} {run.folder}: test accuracy {percent(results.test_correct, results.test_total)} "
        f"({results.test_correct} of {results.test_total}), "
        f"{results.epochs} epochs in {results.seconds:.0f} s",
        "next: zoo compile --backend all",
    )


def profile_training(order: Order) -> None:
    """Measure the steps, the loading and both, beside a plain loop; train nothing."""
    import torch

    from compile.machine import conditions
    from compile.report import show, to_json
    from zoo.cli.tables import speed_table
    from zoo.training.memory import keep_freed_memory
    from zoo.training.parallel import join
    from zoo.training.speed import profile
    from zoo.training.train import make_trainer, run_config

    if order.device not in (None, "cpu"):
        raise UsageError("--profile compares loops on the CPU; leave --device out")
    keep_freed_memory()
    data, recipe = _prepared(order)
    recipe = replace(recipe, epochs=100_000)
    options = _network_options(order.options)
    config = run_config(order.model or "", data, recipe, seed=order.seed, options=options)
    with join("cpu") as group:
        trainer = make_trainer(config, data, recipe, _work(order, group))
        speeds = profile(trainer, config.model, config.options, seconds=20)
    report: dict[str, Any] = {
        "model": config.model,
        "data": config.data,
        "recipe": asdict(recipe),
        "speeds": [asdict(speed) for speed in speeds],
        "conditions": conditions() | {"threads": torch.get_num_threads()},
    }
    if order.json:
        print(to_json(report), end="")
    else:
        show(*speed_table(speeds, report["conditions"]))
