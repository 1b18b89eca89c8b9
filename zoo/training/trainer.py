"""The training loop. Everything random is drawn from (seed, epoch, step, part). So a training run
may stop after any step and be resumed in another process, with the same bits in the end.

A step takes `batch` images or a few more. They are dealt out to `group.size * accumulate` parts.
Each process computes the gradients of its `accumulate` parts in turn. The gradients of all parts
are averaged by their number of images, and every process takes the same step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from zoo.data import Data, Request, batches, mix
from zoo.errors import CheckFailed, UsageError
from zoo.training.loss import loss_of
from zoo.training.optimizer import (
    learning_rate,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
)
from zoo.training.parallel import Group
from zoo.training.position import Epoch, Position, derive
from zoo.training.recipe import Recipe
from zoo.training.stochastic_depth import stochastic_depth

_STATISTICS = 8192
"""Training images that measure the batch norms' statistics under averaged weights."""


class NonFiniteLoss(CheckFailed):
    """Training cannot continue. The network keeps its weights from before the step."""


class Trainer:
    """A network, its optimiser and their position: everything that a training run remembers."""

    def __init__(
        self,
        network: nn.Module,
        data: Data,
        recipe: Recipe,
        *,
        seed: int,
        group: Group | None = None,
        workers: int = 0,
    ) -> None:
        self.group = group or Group()
        self.data, self.recipe, self.seed, self.workers = data, recipe, seed, workers
        self.network = network.to(self.group.device)
        if recipe.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._droppers = stochastic_depth(network, recipe.drop_path)
        self.optimizer = make_optimizer(network, recipe)
        average = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=average) if recipe.average else None
        self.position = Position()
        self.history: list[Epoch] = []
        # Equal steps of at least `batch` images: a last one of a single image has no statistics.
        self.steps = max(1, len(data.train) // recipe.batch)
        parts = self.group.size * recipe.accumulate
        if min(recipe.batch, len(data.train)) < 2 * parts:
            raise UsageError(
                f"a step of {min(recipe.batch, len(data.train))} images cannot be dealt out to "
                f"{parts} parts of at least 2; use a larger batch, or fewer processes or parts"
            )
        ids = [self.group.device.index] if self.group.device.type == "cuda" else None
        joined = self.group.joined
        self._parallel = DistributedDataParallel(network, device_ids=ids) if joined else None
        self._model = self._parallel or network
        if recipe.compile:
            self._model = torch.compile(self._model)  # type: ignore[assignment]

    @property
    def progress(self) -> float:
        """How much of all training is done, 0..1."""
        at = self.position
        return (at.epoch + at.step / self.steps) / self.recipe.epochs

    @property
    def unfinished(self) -> bool:
        """Whether epochs are left to train."""
        return self.position.epoch < self.recipe.epochs

    def run(self, after_step: Callable[[], bool] = lambda: False) -> Iterator[tuple[Epoch, float]]:
        """Train to the end. Yields each epoch as it ends, with its images per second.

        `after_step()` is called between steps, when the state is consistent and may be saved. If
        it returns True on any process, training stops there on all of them, and `unfinished` is
        true. Raises NonFiniteLoss.
        """
        started, seen = time.perf_counter(), self.position.seen
        for ended in self.take_steps():
            stop = any(self.group.sums(after_step()))
            if ended is not None:
                images = len(self.data.train) - seen
                yield ended, images / (time.perf_counter() - started)
                started, seen = time.perf_counter(), 0.0
            if stop and self.unfinished:
                return
        self._finish()

    def take_steps(self) -> Iterator[Epoch | None]:
        """Take one step after another to the end. Yields each epoch after its last step."""
        stream = batches(
            self.data.train,
            self.requests(),
            augment=self.recipe.augment(),
            workers=self.workers,
        )
        self.network.train()
        while self.unfinished:
            self.step(stream)
            yield self._close_epoch() if self.position.step == self.steps else None

    def step(self, stream: Iterator[tuple[Tensor, Tensor]]) -> None:
        """Take one step on the next `accumulate` parts of `stream`: images and labels.

        Raises NonFiniteLoss before the weights change.
        """
        at, recipe = self.position, self.recipe
        step = at.epoch * self.steps + at.step
        at.lr = learning_rate(recipe, step, recipe.epochs * self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = at.lr
        self.optimizer.zero_grad(set_to_none=True)
        sums = [0.0, 0.0, 0.0]
        parts = self._my_parts()
        for part in parts:
            results = self._backward(*next(stream), part, last=part == parts[-1])
            sums = [old + new for old, new in zip(sums, results, strict=True)]
        sums = self.group.sums(*sums)
        if not math.isfinite(sums[0]):
            raise NonFiniteLoss(
                f"the loss is {sums[0]} in epoch {at.epoch + 1}, step {at.step + 1} of "
                f"{self.steps}; lower the learning rate (it peaks at {recipe.lr:g})"
            )
        if recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        at.loss_sum, at.correct, at.seen = (
            old + new for old, new in zip((at.loss_sum, at.correct, at.seen), sums, strict=True)
        )
        at.step += 1

    def _backward(
        self, images: Tensor, labels: Tensor, part: int, *, last: bool
    ) -> tuple[float, float, float]:
        """Add the gradient of one part. Returns its summed loss, hits and number of images."""
        at, recipe, device = self.position, self.recipe, self.group.device
        seed = derive(self.seed, at.epoch, at.step, part, 1)
        if recipe.drop_path:
            torch.manual_seed(seed)
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        images = images.to(device, memory_format=layout)
        labels = labels.to(device)
        targets = functional.one_hot(labels, len(self.data.classes)).float()
        if recipe.mixup or recipe.cutmix:
            generator = torch.Generator().manual_seed(seed)
            images, targets = mix(
                images, targets, mixup=recipe.mixup, cutmix=recipe.cutmix, generator=generator
            )
        # Processes average their gradients; parts of one process add up.
        share = len(images) * self.group.size / self._step_size()
        # Only the last part's backward pass needs to wait for the other processes.
        wait = self._parallel is None or last
        with nullcontext() if wait else self._parallel.no_sync():  # type: ignore[union-attr]
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits = self._model(images)
            loss = loss_of(logits.float(), targets, recipe)
            (loss * share).backward()  # type: ignore[no-untyped-call]
        hits = (logits.argmax(1) == targets.argmax(1)).sum()
        return loss.item() * len(images), float(hits), float(len(images))

    def _close_epoch(self) -> Epoch:
        at = self.position
        row = Epoch(
            epoch=at.epoch + 1, loss=at.loss_sum / at.seen, accuracy=at.correct / at.seen, lr=at.lr
        )
        self.history.append(row)
        self.position = Position(epoch=at.epoch + 1)
        return row

    @torch.no_grad()
    def _finish(self) -> None:
        """Take the averaged weights, and measure the statistics of the batch norms under them."""
        for dropper in self._droppers:
            dropper.remove()
        # The batch norms of each process have seen other parts of the last step.
        self.group.share(self.network.buffers())
        if self.average is not None:
            for own, averaged in zip(
                self.network.parameters(), self.average.module.parameters(), strict=True
            ):
                own.copy_(averaged)
            count = len(self.data.train)
            chosen = torch.arange(0, count, max(1, count // _STATISTICS))
            # Equal chunks: the plain mean over them is the mean over their images.
            chunks = chosen.tensor_split(max(1, len(chosen) // 256))
            images = (self.data.train.load(chunk) for chunk in chunks)
            update_bn(images, self.network, device=self.group.device)
        self.network.eval()

    def check_finite(self) -> None:
        """Raise NonFiniteLoss if a weight or a statistic is no longer finite.

        A finite loss may have a gradient that is not finite, and the next step would say so too
        late.
        """
        for name, value in self.network.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                at = self.position
                raise NonFiniteLoss(
                    f"{name} is not finite after epoch {at.epoch + (at.step > 0)}, step "
                    f"{at.step or self.steps} of {self.steps}; lower the learning rate "
                    f"(it peaks at {self.recipe.lr:g})"
                )

    def _my_parts(self) -> range:
        return range(self.group.rank, self.group.size * self.recipe.accumulate, self.group.size)

    def _step_size(self) -> int:
        """Images of the current step, over all parts."""
        full, rest = divmod(len(self.data.train), self.steps)
        return full + (self.position.step < rest)

    def requests(self) -> Iterator[Request]:
        """The batches of this process, part by part, from the current position to the end."""
        at, count = self.position, len(self.data.train)
        first_step = at.step
        for epoch in range(at.epoch, self.recipe.epochs):
            generator = torch.Generator().manual_seed(derive(self.seed, epoch))
            order = torch.randperm(count, generator=generator)
            order = order.repeat_interleave(self.recipe.repeats)[:count]
            for step, chosen in enumerate(order.tensor_split(self.steps)):
                if step >= first_step:
                    for part in self._my_parts():
                        yield Request(
                            indices=chosen[part :: self.group.size * self.recipe.accumulate],
                            seed=derive(self.seed, epoch, step, part),
                        )
            first_step = 0

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that `restore` needs: tensors by name, and plain data."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        moments = optimizer_tensors(self.optimizer)
        tensors |= {f"optimizer.{name}": value for name, value in moments.items()}
        if self.average is not None:
            averaged = self.average.state_dict()
            tensors |= {f"average.{name}": value for name, value in averaged.items()}
        plain = {"position": asdict(self.position), "history": [asdict(e) for e in self.history]}
        return tensors, plain

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to a `state` of a trainer with the same network and recipe."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.network.load_state_dict(part("network."))
        if self.average is not None:
            self.average.load_state_dict(part("average."))
        restore_optimizer(self.optimizer, part("optimizer."))
        self.position = Position(**plain["position"])
        self.history = [Epoch(**row) for row in plain["history"]]
