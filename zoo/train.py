"""Training, evaluation and prediction: seeded, deterministic for a given number of threads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.checkpoint import (
    Results,
    Run,
    RunConfig,
    begin_run,
    discard_run,
    list_runs,
    load_run,
    publish_run,
)
from zoo.data import Data, normalise, random_flip, random_shift, read_image
from zoo.errors import BadArtifact, CheckFailed, UsageError
from zoo.models import build
from zoo.progress import Progress
from zoo.recipe import Recipe, WeightAverage, learning_rate, make_optimizer

__all__ = [
    "Epoch",
    "Evaluation",
    "Recipe",
    "default_recipe",
    "evaluate",
    "find_same",
    "fit",
    "predict",
    "train",
]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of metrics.csv. The test half is not in it, so that nobody selects by it."""

    epoch: int
    """From 1."""
    loss: float
    """Mean cross entropy over the epoch's augmented images, with label smoothing."""
    accuracy: float
    """Of the same forward passes, 0..1: while learning, on augmented images."""
    lr: float
    """Learning rate of the last step."""
    seconds: float
    images_per_s: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How often a network is right."""

    correct: int
    total: int
    loss: float
    """Mean cross entropy, without label smoothing."""

    @property
    def accuracy(self) -> float:
        """0..1"""
        return self.correct / self.total


def train(
    model: str,
    data: Data,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    out: str | Path = "runs",
    device: str = "cpu",
    stem: str = "small",
    quiet: bool = False,
) -> Run:
    """Train `model` on `data`, evaluate it once on the test half, and publish the run below `out`.

    Everything random derives from `seed`: the same seed, threads, versions and machine give the
    same bits on the CPU. A non-finite loss is a CheckFailed that names epoch and step. Whatever
    ends training early, an interrupt too, leaves nothing that looks like a run. Progress goes to
    stderr.
    """
    recipe = recipe or default_recipe(data)
    options = {
        "num_classes": len(data.classes),
        "in_channels": data.preprocessing["channels"],
        "stem": stem,
    }
    network = build(model, seed=seed, zero_init_residual=recipe.zero_init_residual, **options).to(
        device
    )
    started = time.perf_counter()
    draft = begin_run(out, model)
    try:
        with Progress(recipe.epochs, quiet=quiet) as progress:
            for row in fit(network, data, recipe, seed, on_step=progress.step):
                draft.append_metrics(asdict(row))
                progress.epoch(row.epoch, row.loss, row.accuracy, row.images_per_s)
        result = evaluate(network, data.test_x, data.test_y)
        config = RunConfig(
            model=model,
            options=options,
            classes=list(data.classes),
            preprocessing=data.preprocessing,
            data={"name": data.name} | ({"path": data.path} if data.path else {}),
            recipe=asdict(recipe),
            seed=seed,
            results=Results(
                test_accuracy=result.accuracy,
                test_correct=result.correct,
                test_total=result.total,
                epochs=recipe.epochs,
                seconds=round(time.perf_counter() - started, 2),
            ),
        )
        return publish_run(draft, network.state_dict(), config)
    except BaseException:
        discard_run(draft)
        raise


def find_same(out: str | Path, model: str, data: Data, recipe: Recipe, seed: int) -> Run | None:
    """The newest run of `model` below `out` if training with these settings would repeat it."""
    found = list_runs(out, model)
    if not found:
        return None
    try:
        run = load_run(found[-1])
    except BadArtifact:
        return None
    made = run.config
    wanted = {"name": data.name} | ({"path": data.path} if data.path else {})
    same = (made.data, made.recipe, made.seed) == (wanted, asdict(recipe), seed)
    same = same and made.preprocessing == data.preprocessing and made.classes == list(data.classes)
    return run if same else None


def default_recipe(data: Data) -> Recipe:
    """The recipe that was chosen for this kind of data."""
    if data.name == "digits":
        return Recipe()
    # Photographs: the usual decay, shifts of a sixteenth as with CIFAR's 32 pixels, mirroring.
    return Recipe(weight_decay=5e-4, shift=max(1, data.shape[1] // 16), flip=True)


def fit(
    network: nn.Module,
    data: Data,
    recipe: Recipe,
    seed: int,
    on_step: Callable[[float], None] = lambda share: None,
) -> Iterator[Epoch]:
    """Train `network` in place on the training half, one epoch for each item taken.

    `on_step` is told after each step how much of all training is done, 0..1.
    """
    device = next(network.parameters()).device
    images, labels = data.train_x.to(device), data.train_y.to(device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = make_optimizer(network, recipe)
    average = WeightAverage(network, recipe.average)
    # Equal steps of at least `batch` images: a last one of a single image has no statistics.
    num_steps = max(1, len(images) // recipe.batch)
    network.train()
    for epoch in range(recipe.epochs):
        started = time.perf_counter()
        loss_sum, correct, lr = 0.0, 0, 0.0
        order = torch.randperm(len(images), generator=generator).to(device)
        for step, chosen in enumerate(order.tensor_split(num_steps)):
            lr = learning_rate(recipe, epoch * num_steps + step, recipe.epochs * num_steps)
            batch, target = augment(images[chosen], data, recipe, generator), labels[chosen]
            logits = network(batch)
            loss = functional.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
            if not math.isfinite(loss.item()):
                raise CheckFailed(
                    f"the loss is {loss.item()} in epoch {epoch + 1}, step {step + 1} of "
                    f"{num_steps}; lower the learning rate (it peaks at {recipe.lr:g})"
                )
            update(optimizer, loss, lr)
            average.update()
            loss_sum += loss.item() * len(chosen)
            correct += int((logits.argmax(1) == target).sum())
            on_step((epoch + (step + 1) / num_steps) / recipe.epochs)
        seconds = time.perf_counter() - started
        if epoch + 1 == recipe.epochs:
            average.adopt(images)
        yield Epoch(
            epoch=epoch + 1,
            loss=loss_sum / len(images),
            accuracy=correct / len(images),
            lr=lr,
            seconds=seconds,
            images_per_s=len(images) / seconds,
        )
    network.eval()


def augment(images: Tensor, data: Data, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shift each image (B, C, H, W) by its own random offset, and mirror some where asked."""
    background = normalise(torch.zeros(1, images.shape[1], 1, 1), data.preprocessing)
    images = random_shift(images, recipe.shift, background.to(images.device), generator)
    return random_flip(images, generator) if recipe.flip else images


def update(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    """One step down the gradient of `loss`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@torch.inference_mode()
def evaluate(network: nn.Module, images: Tensor, labels: Tensor, *, batch: int = 256) -> Evaluation:
    """Accuracy and loss of `network` in evaluation mode; its mode is as before afterwards."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    correct, loss = 0, 0.0
    for chunk, target in zip(torch.split(images, batch), torch.split(labels, batch), strict=True):
        logits = network(chunk.to(device))
        target = target.to(device)
        loss += functional.cross_entropy(logits, target, reduction="sum").item()
        correct += int((logits.argmax(1) == target).sum())
    network.train(was_training)
    return Evaluation(correct=correct, total=len(labels), loss=loss / max(1, len(labels)))


@torch.inference_mode()
def predict(run: Run, image_path: str | Path, *, top: int = 3) -> list[tuple[str, float]]:
    """The `top` most likely classes of one image file, with their probabilities, best first.

    The image is made grey or RGB, resized and cropped as the run's preprocessing says. Digits
    are light on dark; a dark digit on white paper is another picture: invert it first. A missing
    or damaged image is a BadArtifact.
    """
    wanted, classes = run.config.preprocessing, run.config.classes
    if wanted is None or classes is None:
        raise UsageError(f"{run.folder} names no preprocessing or no classes, so it cannot predict")
    pixels = read_image(image_path, wanted["channels"], wanted["height"], wanted["width"])
    logits = run.build()(normalise(pixels, wanted).unsqueeze(0))[0]
    probabilities, indices = logits.softmax(0).topk(min(top, len(logits)))
    pairs = zip(indices.tolist(), probabilities.tolist(), strict=True)
    return [(classes[index], probability) for index, probability in pairs]
