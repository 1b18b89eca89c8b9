"""How good a trained network is: its accuracy on a split, and its answer for one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from zoo.data import Request, Split, batches, normalise, read_image
from zoo.errors import UsageError
from zoo.runs.checkpoint import Run
from zoo.training.parallel import Group


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How many images a network classifies correctly."""

    correct: int
    total: int
    loss: float
    """Mean cross entropy, without label smoothing."""

    @property
    def accuracy(self) -> float:
        """0..1"""
        return self.correct / self.total


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    split: Split,
    *,
    batch: int = 256,
    workers: int = 0,
    group: Group | None = None,
) -> Evaluation:
    """Accuracy and loss of `network` in evaluation mode. Afterwards its mode is as before.

    Each process of `group` takes its share of the images, and each gets the whole result.
    """
    group = group or Group()
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    correct, loss = 0, 0.0
    mine = torch.arange(group.rank, len(split), group.size)
    requests = [Request(indices=chosen, seed=0) for chosen in torch.split(mine, batch)]
    for images, labels in batches(split, requests, augment=None, workers=workers):
        logits, target = network(images.to(device)), labels.to(device)
        loss += functional.cross_entropy(logits, target, reduction="sum").item()
        correct += int((logits.argmax(1) == target).sum())
    network.train(was_training)
    hits, total_loss = group.sums(correct, loss)
    return Evaluation(correct=int(hits), total=len(split), loss=total_loss / max(1, len(split)))


@torch.inference_mode()
def predict(run: Run, image_path: str | Path, *, top: int = 5) -> list[tuple[str, float]]:
    """The `top` most likely classes of one image file, with their probabilities, best first.

    The image becomes grey or RGB, and is resized and cropped as the run's preprocessing says.
    Digits are light on dark, so invert a dark digit on white paper first. Raises BadArtifact for a
    missing or damaged image, and UsageError if the run names no preprocessing or classes.
    """
    wanted, classes = run.config.preprocessing, run.config.classes
    if wanted is None or classes is None:
        raise UsageError(f"{run.folder} names no preprocessing or no classes, so it cannot predict")
    pixels = read_image(image_path, wanted)
    logits = run.build()(normalise(pixels, wanted).unsqueeze(0))[0]
    probabilities, indices = logits.softmax(0).topk(min(top, len(logits)))
    pairs = zip(indices.tolist(), probabilities.tolist(), strict=True)
    return [(classes[index], probability) for index, probability in pairs]
