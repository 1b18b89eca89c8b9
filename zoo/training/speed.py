"""The speed of training, side by side with a plain loop: `zoo train resnet18 --profile`.

plain loop    what a first script does: eager, float32, NCHW, the same batch again and again. It
              has its own process, which no setting of this one reaches; on the same device
steps alone   this recipe's steps, on batches that are already in memory
loading       the images of a step, as training loads them, with and without augmenting them
training      both together

The loops take turns in random order, step by step. So a machine that changes its speed changes it
for all of them.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.nn import functional

from compile.measure.stats import median_interval, percentile
from zoo.data import Data, Request, batches
from zoo.models import build
from zoo.training.position import Position
from zoo.training.trainer import Trainer

_WARMUP, _LEAST = 2, 6


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One loop, measured."""

    name: str
    """`plain loop`, `steps alone` ..."""
    images_per_s: float
    """From the median time of a step."""
    interval: tuple[float, float] | None
    """95 % interval of it, by order statistics."""
    over_plain: float
    """The plain loop's time over this loop's in the same round: the median of all rounds."""
    over_plain_interval: tuple[float, float] | None
    """95 % interval of it."""
    n: int
    """Rounds that were measured."""


def profile(
    trainer: Trainer, model: str, options: dict[str, Any], *, seconds: float
) -> list[Speed]:
    """Measure all loops together for about `seconds` after warming up, at least six rounds.

    `trainer` must have enough steps left. `options` are those of its network. On a GPU a step ends
    when the GPU has done its work.
    """
    count, device = len(trainer.data.train) // trainer.steps, trainer.group.device
    with _plain_loop(model, options, trainer.data, count, device) as plain:
        loops: dict[str, Callable[[], object]] = {
            "plain loop": plain,
            "steps alone": _steps_alone(trainer),
            "loading alone": _loading(trainer, count, augmented=False),
            "loading, augmenting": _loading(trainer, count, augmented=True),
            "training": partial(next, trainer.take_steps()),
        }
        times = _in_turns(loops, seconds, device)
    return [_speed(name, taken, times["plain loop"], count) for name, taken in times.items()]


def _in_turns(
    loops: dict[str, Callable[[], object]], seconds: float, device: torch.device
) -> dict[str, list[int]]:
    """Nanoseconds of each call. In each round every loop has one turn, in random order."""
    times: dict[str, list[int]] = {name: [] for name in loops}
    rounds, start = 0, time.monotonic()
    while rounds < _WARMUP + _LEAST or time.monotonic() - start < seconds:
        if rounds == _WARMUP:
            start = time.monotonic()
        for name in random.sample(list(loops), len(loops)):
            before = time.perf_counter_ns()
            loops[name]()
            _settle(device)
            if rounds >= _WARMUP:
                times[name].append(time.perf_counter_ns() - before)
        rounds += 1
    return times


def _settle(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; else only the launch would be timed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _speed(name: str, taken: list[int], plain: list[int], count: int) -> Speed:
    ordered, ratios = sorted(taken), sorted(p / t for p, t in zip(plain, taken, strict=True))
    interval, spread = median_interval(ordered), median_interval(ratios)
    return Speed(
        name=name,
        images_per_s=count * 1e9 / percentile(ordered, 50),
        interval=(count * 1e9 / interval[1], count * 1e9 / interval[0]) if interval else None,
        over_plain=percentile(ratios, 50),
        over_plain_interval=spread,
        n=len(taken),
    )


def _steps_alone(trainer: Trainer) -> Callable[[], object]:
    requests = islice(trainer.requests(), trainer.recipe.accumulate)
    split, augment = trainer.data.train, trainer.recipe.augment()
    ready = list(batches(split, requests, augment=augment, workers=0))

    def step() -> None:
        trainer.position = Position()
        trainer.step(iter(ready))

    return step


def _loading(trainer: Trainer, count: int, *, augmented: bool) -> Callable[[], object]:
    """A call loads one step's images, as fast as the loader's processes can."""
    split, augment = trainer.data.train, trainer.recipe.augment() if augmented else None
    requests = (
        Request(indices=torch.arange(count * step, count * (step + 1)) % len(split), seed=step)
        for step in range(10**9)
    )
    return partial(next, batches(split, requests, augment=augment, workers=trainer.workers))


@contextmanager
def _plain_loop(
    model: str, options: dict[str, Any], data: Data, count: int, device: torch.device
) -> Iterator[Callable[[], object]]:
    """A call that takes one step of the plain loop, in a process of its own."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    arguments = (there, model, options, (count, *data.shape), len(data.classes))
    process = multiprocessing.get_context("spawn").Process(
        target=_plain_steps, args=(*arguments, torch.get_num_threads(), str(device)), daemon=True
    )
    process.start()
    there.close()

    def step() -> None:
        here.send(True)
        here.recv()

    try:
        yield step
    finally:
        here.close()
        process.join()


def _plain_steps(
    asked: Connection,
    model: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
    num_classes: int,
    threads: int,
    where: str,
) -> None:
    torch.set_num_threads(threads)
    device = torch.device(where)
    network = build(model, seed=0, **options).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(shape, device=device)
    labels = torch.randint(num_classes, shape[:1], device=device)
    try:
        while asked.recv():
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            _settle(device)
            asked.send(True)
    except (EOFError, KeyboardInterrupt):
        return  # measured enough
