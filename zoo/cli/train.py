"""zoo train: train a network, resume an unfinished run, or measure how fast training is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from zoo.cli.command import Command, changed
from zoo.cli.options import (
    RUNS,
    DeviceOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    check_device,
    set_threads,
)
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.data import Data
    from zoo.runs.checkpoint import Run, RunConfig
    from zoo.training.parallel import Group
    from zoo.training.recipe import Recipe
    from zoo.training.train import Work

_WITH_RESUME = (
    *("resume", "out", "device", "threads", "workers", "save_every"),
    *("json", "quiet"),
)
"""Options that say how to train, not what: they may be given beside --resume."""


@dataclass(frozen=True, kw_only=True)
class Train(SeedOption, DeviceOption, ThreadsOption, QuietOption, Command):
    """Train a network, or resume an unfinished run."""

    model: Annotated[str | None, Argument()] = None
    """A name that `zoo list` shows."""
    data: str = "digits"
    """digits, cifar10[:FOLDER], cifar100[:FOLDER], synthetic or a folder."""
    size: Annotated[int | None, Option(min=8, max=4096, show_default="the data's")] = None
    """Height and width of the images."""
    recipe: str = "fast"
    """A recipe's name: fast, paper, rsb-a3, ..."""
    epochs: Annotated[int | None, Option(min=1, max=100_000, show_default="the recipe's")] = None
    """How often all images are seen."""
    precision: Annotated[str | None, Option(show_default="the recipe's")] = None
    """fp32 or bf16."""
    compile_: bool = False
    """Compile the network for training first."""
    set_: tuple[str, ...] = ()
    """A field of the recipe, such as lr=0.05; repeatable."""
    option: tuple[str, ...] = ()
    """An option of the network, such as shortcut=B; repeatable."""
    resume: Path | None = None
    """Resume this unfinished run."""
    if_needed: bool = False
    """Keep the newest run if these options made it."""
    skip_bad: bool = False
    """Leave out images that cannot be read."""
    workers: Annotated[int | None, Option(min=0, max=256, show_default="cores")] = None
    """Processes that decode images."""
    save_every: Annotated[float, Option(min=0, max=86_400)] = 30.0
    """Seconds between saved states."""
    profile: bool = False
    """Measure the speed of training; train nothing."""
    out: Path = RUNS
    """Root folder of the runs."""

    def run(self) -> None:
        """Train or resume, and print what came out."""
        from zoo.training.memory import keep_freed_memory

        self._check()
        set_threads(self.threads)
        keep_freed_memory()
        if self.profile:
            _profile(self)
        elif self.resume is not None:
            _resume(self, self.resume)
        else:
            _train(self)

    def _check(self) -> None:
        """Refuse options that cannot be meant together, before anything is loaded."""
        if (self.model is None) == (self.resume is None):
            raise UsageError("give a model's name or --resume RUN; `zoo list` shows both")
        others = changed(self, without=_WITH_RESUME)
        if self.resume is not None and others:
            raise UsageError(
                "--resume takes data, recipe, network and seed from the run; leave out "
                f"{', '.join(others)}"
            )
        check_device(self.device or "cpu")
        if self.profile and self.device not in (None, "cpu"):
            raise UsageError("--profile compares loops on the CPU; leave --device out")

    def recipe_settings(self) -> list[str]:
        """Fields of the recipe that the options change, as `name=value`."""
        return [
            *self.set_,
            *([f"epochs={self.epochs}"] if self.epochs else []),
            *([f"precision={self.precision}"] if self.precision else []),
            *(["compile=true"] if self.compile_ else []),
        ]


def _train(options: Train) -> None:
    """Train a network; under torchrun only the leader says what came out."""
    from zoo.training.parallel import join
    from zoo.training.train import find_same, run_config, train

    with join(options.device or "cpu") as group:
        data, recipe = _data_and_recipe(options)
        network_options = _network_options(options.option)
        same = None
        if options.if_needed:
            wanted = run_config(
                options.model or "",
                data,
                recipe,
                seed=options.seed,
                options=network_options,
                processes=group.size,
                device=group.device.type,
            )
            same = find_same(options.out, wanted)
        run = same or train(
            options.model or "",
            data,
            recipe=recipe,
            seed=options.seed,
            out=options.out,
            options=network_options,
            work=_work(options, group),
        )
        if group.leader:
            _report(run, "kept" if same else "trained", json=options.json)


def _resume(options: Train, folder: Path) -> None:
    """Train an unfinished run to its end, on the device that it began on."""
    from zoo.runs.checkpoint import read_config
    from zoo.runs.folders import TRAINING
    from zoo.training.parallel import join
    from zoo.training.train import resume

    if not (folder / TRAINING).exists():
        raise UsageError(f"no unfinished run at {folder}; `zoo list` shows those there are")
    begun = read_config(folder / TRAINING)
    check_device(begun.device)
    with join(options.device or begun.device) as group:
        run = resume(folder, _data_of(folder, begun), work=_work(options, group))
        if group.leader:
            _report(run, "trained", json=options.json)


def _data_and_recipe(options: Train) -> tuple[Data, Recipe]:
    """What the options name."""
    from zoo.training.choosing import data_and_recipe

    return data_and_recipe(
        options.model or "",
        options.data,
        recipe=options.recipe,
        size=options.size,
        settings=options.recipe_settings(),
        seed=options.seed,
        skip_bad=options.skip_bad,
        device=options.device or "cpu",
    )


def _data_of(folder: Path, begun: RunConfig) -> Data:
    """The data that an unfinished run was trained on."""
    from zoo.sources.source import load_data

    data = load_data(begun, only_test=False)
    if data is None:
        raise UsageError(f"{folder} names no data set, so it cannot be resumed")
    return data


def _work(options: Train, group: Group) -> Work:
    from compile.machine import usable_cores
    from zoo.training.train import Work

    workers = usable_cores() // group.size if options.workers is None else options.workers
    return Work(
        group=group,
        workers=workers,
        save_every=options.save_every,
        quiet=options.quiet or options.json or not group.leader,
    )


def _network_options(settings: tuple[str, ...]) -> dict[str, Any]:
    """`name=value` options of a network; numbers, true and false get their own types."""
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


def _profile(options: Train) -> None:
    """Measure the steps, the loading and both, beside a plain loop."""
    import torch

    from compile.machine import conditions
    from compile.report import show, to_json
    from zoo.cli.tables import speed_table
    from zoo.training.parallel import join
    from zoo.training.speed import profile
    from zoo.training.train import make_trainer, run_config

    data, recipe = _data_and_recipe(options)
    recipe = replace(recipe, epochs=100_000)
    config = run_config(
        options.model or "",
        data,
        recipe,
        seed=options.seed,
        options=_network_options(options.option),
    )
    with join("cpu") as group:
        trainer = make_trainer(config, data, recipe, _work(options, group))
        speeds = profile(trainer, config.model, config.options, seconds=20)
    report: dict[str, Any] = {
        "model": config.model,
        "data": config.data,
        "recipe": asdict(recipe),
        "speeds": [asdict(speed) for speed in speeds],
        "conditions": conditions() | {"threads": torch.get_num_threads()},
    }
    if options.json:
        print(to_json(report), end="")
    else:
        show(*speed_table(speeds, report["conditions"]))
