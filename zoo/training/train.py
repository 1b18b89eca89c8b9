"""Training as a whole: data and a recipe in, a run on disk out. It can stop and be resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zoo.data import Data
from zoo.errors import BadArtifact, UsageError
from zoo.models import build, info
from zoo.runs.checkpoint import Results, Run, RunConfig, load_run, read_config
from zoo.runs.draft import (
    METRICS,
    STATE,
    TIMES,
    Draft,
    begin_run,
    discard_run,
    open_draft,
    publish_run,
    read_rows,
    read_state,
)
from zoo.runs.folders import TRAINING, list_runs
from zoo.training.evaluate import evaluate
from zoo.training.parallel import Group
from zoo.training.progress import EpochBar
from zoo.training.recipe import Recipe
from zoo.training.signals import deferred
from zoo.training.trainer import NonFiniteLoss, Trainer

__all__ = ["Work", "find_same", "recipe_of", "resume", "run_config", "train"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """How a training run is carried out. Nothing in it changes the result, except for rounding."""

    group: Group = field(default_factory=Group)
    """The processes that train together."""
    workers: int = 0
    """Processes that decode images, for data that is not in memory."""
    save_every: float = 30.0
    """Seconds between two saved states. 0 saves after each step."""
    quiet: bool = False
    """Whether no progress is shown."""


def run_config(
    model: str,
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    processes: int = 1,
    device: str = "cpu",
) -> RunConfig:
    """The config.json of a run of `model` on `data`, without the results."""
    wanted: dict[str, Any] = {"num_classes": len(data.classes), "in_channels": data.shape[0]}
    if "stem" in info(model).options and data.shape[1] <= 64:
        wanted["stem"] = "small"
    return RunConfig(
        model=model,
        options=wanted | (options or {}),
        classes=list(data.classes),
        preprocessing=data.preprocessing,
        data=data.record | {"train": len(data.train), "test": len(data.test)},
        recipe=asdict(recipe),
        seed=seed,
        processes=processes,
        device=device,
    )


def train(
    model: str,
    data: Data,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    out: str | Path = "runs",
    options: dict[str, Any] | None = None,
    work: Work | None = None,
) -> Run:
    """Train `model` on `data`, evaluate it once on the test set, and publish the run below `out`.

    Everything random derives from `seed`. On the CPU the same seed, threads, processes, versions
    and machine give the same bits, however often training was interrupted and resumed. SIGINT and
    SIGTERM save the state first. A non-finite loss is a CheckFailed that names epoch and step, and
    the last state is kept. Progress goes to stderr. With several processes each calls this.
    """
    work = work or Work()
    recipe = recipe or Recipe()
    config = run_config(
        model,
        data,
        recipe,
        seed=seed,
        options=options,
        processes=work.group.size,
        device=work.group.device.type,
    )
    draft = begin_run(out, config) if work.group.leader else None
    try:
        trainer = make_trainer(config, data, recipe, work)
        if draft is not None:
            draft.save(*trainer.state())
    except BaseException:
        if draft is not None:
            discard_run(draft)
        raise
    return _run(draft, trainer, config, work, [])


def resume(folder: Path, data: Data, *, work: Work | None = None) -> Run:
    """Resume an unfinished run from its last state, on the same data, and publish it.

    Raises UsageError if there is no such run, if another process trains it, or if the number of
    processes is not that which began it. Raises BadArtifact if it is damaged, or if the data is not
    what it began with.
    """
    work = work or Work()
    draft = open_draft(folder) if work.group.leader else None
    try:
        config = read_config(folder / TRAINING)
        before = config.data or {}
        if config.processes != work.group.size:
            raise UsageError(
                f"{folder} was begun by {config.processes} processes, not {work.group.size}; "
                f"{_how_to_resume(folder, config)}"
            )
        if config.classes != list(data.classes) or before.get("train") != len(data.train):
            raise BadArtifact(f"{folder} began with other data; restore its images or train again")
        trainer = make_trainer(config, data, recipe_of(config), work)
        if (folder / STATE).exists():  # else it was killed before its first state was on disk
            _restore(trainer, folder)
        times = _times(folder, trainer.position.epoch)
    except BaseException:
        if draft is not None:
            draft.release()
        raise
    return _run(draft, trainer, config, work, times)


def make_trainer(config: RunConfig, data: Data, recipe: Recipe, work: Work) -> Trainer:
    """A trainer with a fresh network of this config."""
    accepted = info(config.model).options
    zero = {"zero_init_residual": recipe.zero_init_residual}
    zero = zero if "zero_init_residual" in accepted else {}
    network = build(config.model, seed=config.seed, **{**zero, **config.options})
    return Trainer(network, data, recipe, seed=config.seed, group=work.group, workers=work.workers)


def _restore(trainer: Trainer, folder: Path) -> None:
    tensors, plain = read_state(folder)
    try:
        trainer.restore(tensors, plain)
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = f"does not belong to this training run: {str(error).strip().splitlines()[0]}"
        raise BadArtifact(f"{folder / STATE} {reason}") from None


def _times(folder: Path, epochs: int) -> list[dict[str, Any]]:
    """The rows of times.csv up to the state; none if somebody changed the file."""
    try:
        rows: list[dict[str, Any]] = read_rows(folder / TIMES)[:epochs]
        return [row | {"seconds": float(row["seconds"])} for row in rows]
    except (KeyError, ValueError):
        return []


def _run(
    draft: Draft | None,
    trainer: Trainer,
    config: RunConfig,
    work: Work,
    times: list[dict[str, Any]],
) -> Run:
    """Train to the end and publish. If training stops early, the draft keeps its last state."""
    started = time.perf_counter() - (float(times[-1]["seconds"]) if times else 0.0)
    try:
        with deferred() as signals, EpochBar(trainer.recipe.epochs, quiet=work.quiet) as bar:
            for row, speed in trainer.run(_between_steps(draft, trainer, work, bar, signals)):
                seconds = round(time.perf_counter() - started, 2)
                times.append({"epoch": row.epoch, "seconds": seconds, "images_per_s": speed})
                if draft is not None:
                    _write_metrics(draft, trainer)
                    draft.write_rows(TIMES, times)
                bar.epoch(row.epoch, row.loss, row.accuracy, speed)
            if trainer.unfinished:
                _save(draft, trainer)
        if trainer.unfinished:  # the signal went to another process of the group
            raise KeyboardInterrupt
        return _publish(draft, trainer, config, work, started)
    except KeyboardInterrupt as stop:
        stop.args = (_how_to_resume(draft.folder, config) if draft is not None else "",)
        raise
    except NonFiniteLoss as error:
        where = draft.folder if draft is not None else "the leader's folder"
        raise NonFiniteLoss(f"{error}; the last good state is in {where}") from None
    finally:
        if draft is not None:
            draft.release()


def _between_steps(
    draft: Draft | None, trainer: Trainer, work: Work, bar: EpochBar, signals: list[int]
) -> Callable[[], bool]:
    """The function to call after each step: show progress, save in time, say whether to stop."""
    saved = time.monotonic()

    def after_step() -> bool:
        nonlocal saved
        bar.step(trainer.progress)
        if time.monotonic() - saved >= work.save_every or not trainer.unfinished:
            _save(draft, trainer)
            saved = time.monotonic()
        return bool(signals)

    return after_step


def _save(draft: Draft | None, trainer: Trainer) -> None:
    trainer.check_finite()
    if draft is not None:
        draft.save(*trainer.state())


def _write_metrics(draft: Draft, trainer: Trainer) -> None:
    draft.write_rows(METRICS, [asdict(entry) for entry in trainer.history])


def _publish(
    draft: Draft | None, trainer: Trainer, config: RunConfig, work: Work, started: float
) -> Run:
    test = trainer.data.test
    result = evaluate(trainer.network, test, workers=work.workers, group=work.group)
    results = Results(
        test_accuracy=result.accuracy,
        test_correct=result.correct,
        test_total=result.total,
        epochs=trainer.recipe.epochs,
        seconds=round(time.perf_counter() - started, 2),
    )
    if draft is None:
        return load_run(work.group.same(""))
    _write_metrics(draft, trainer)
    run = publish_run(draft, trainer.network.state_dict(), replace(config, results=results))
    work.group.same(str(run.folder))
    return run


def _how_to_resume(folder: Path, config: RunConfig) -> str:
    """The command that resumes a run as it was begun."""
    many = f"torchrun --nproc-per-node {config.processes} -m " if config.processes > 1 else ""
    where = "" if config.device == "cpu" else f" --device {config.device}"
    return f"resume with `{many}zoo train --resume {folder}{where}`"


def find_same(out: str | Path, wanted: RunConfig) -> Run | None:
    """The newest run of this model below `out`, if it is what training `wanted` would give."""
    folders = list_runs(out, wanted.model)
    if not folders:
        return None
    try:
        newest = load_run(folders[-1])
    except BadArtifact:
        return None
    return newest if same_training(newest.config, wanted) else None


def same_training(done: RunConfig, wanted: RunConfig) -> bool:
    """Whether two configs describe the same training run."""
    names = ("model", "options", "classes", "preprocessing", "data", "recipe", "seed", "processes")
    plain = json.loads(json.dumps(asdict(wanted)))
    return all(asdict(done)[name] == plain[name] for name in names)


def recipe_of(config: RunConfig) -> Recipe:
    """The recipe of a run, from its JSON; BadArtifact if this zoo knows no such recipe."""
    plain = dict(config.recipe or {})
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    try:
        return Recipe(**values)
    except (TypeError, ValueError, UsageError) as error:
        raise BadArtifact(f"the run's recipe is not one of this zoo: {error}") from None
