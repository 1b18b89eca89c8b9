"""MODEL on the command line -> a network with weights, its input shape and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.checkpoint import Run, RunConfig, list_runs, load_run, newest_run
from zoo.data import Data, Preprocessing, load, spec_of
from zoo.errors import BadArtifact, UsageError
from zoo.models import build, calibrate_batch_norms, info, macs, names


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network to compile or evaluate, and where it came from."""

    name: str
    """A name that zoo.models knows."""
    network: nn.Module
    """In evaluation mode, on the CPU, float32."""
    shape: tuple[int, int, int]
    """Channels, height and width of one sample."""
    native: tuple[int, int, int]
    """The shape that it was trained at, or published for."""
    origin: str
    """The run's folder, or `fresh:seed=0`."""
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    run: Run | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return macs(self.network, self.shape)

    def data(self) -> Data | None:
        """The data set that the run was trained on; None for fresh weights."""
        return load_data(self.run.config) if self.run is not None else None

    def samples(self) -> Tensor | None:
        """Test images to prove artifacts with; None where they are gone or have another size."""
        try:
            data = self.data()
        except (UsageError, BadArtifact):
            return None
        if data is None or data.shape != self.shape:
            return None
        return data.test.load(torch.linspace(0, len(data.test) - 1, 64).long())


def resolve(
    model: str | None,
    *,
    runs: Path,
    fresh: bool = False,
    seed: int = 0,
    shape: tuple[int, int, int] | None = None,
) -> Source:
    """Return what MODEL means: a run's path, else a name's newest run, else fresh weights.

    Without MODEL the newest run is meant. Raises UsageError for what is neither a path nor a
    name, and for a `shape` whose channels a trained network does not take.
    """
    if model is None:
        if fresh:
            raise UsageError("--fresh needs a model's name, such as: zoo compile resnet18 --fresh")
        return _trained(newest_run(runs), shape)
    if Path(model).exists() and (model not in names() or "/" in model):
        return _trained(load_run(model), shape)
    if model not in names():
        info(model)  # raises the error that offers close ones
    if not fresh and list_runs(runs, model):
        return _trained(newest_run(runs, model), shape)
    return _fresh(model, seed, shape or info(model).shape)


def _trained(run: Run, shape: tuple[int, int, int] | None) -> Source:
    config = run.config
    if config.preprocessing is None:
        raise BadArtifact(f"{run.folder} names no preprocessing, so its input shape is unknown")
    own = (
        config.preprocessing["channels"],
        config.preprocessing["height"],
        config.preprocessing["width"],
    )
    if shape is not None and shape[0] != own[0]:
        raise UsageError(f"--input has {shape[0]} channels; {run.folder} takes {own[0]}")
    return Source(
        name=config.model,
        network=run.build(),
        shape=shape or own,
        native=own,
        origin=str(run.folder),
        classes=tuple(config.classes) if config.classes else None,
        preprocessing=config.preprocessing,
        run=run,
    )


def _fresh(model: str, seed: int, shape: tuple[int, int, int]) -> Source:
    """Seeded weights at the published class count, with norms that look trained."""
    network = build(model, seed=seed, in_channels=shape[0])
    calibrate_batch_norms(network, shape, seed)
    return Source(
        name=model,
        network=network.eval(),
        shape=shape,
        native=(shape[0], *info(model).shape[1:]),
        origin=f"fresh:seed={seed}",
    )


def load_data(config: RunConfig, *, only_test: bool = True) -> Data | None:
    """Load the data set that a run was trained on, or None when the run names none."""
    data = config.data or {}
    if not data.get("name") or config.preprocessing is None:
        return None
    loaded = load(
        spec_of(data),
        seed=config.seed,
        skip_bad=bool(data.get("skipped")),
        preprocessing=config.preprocessing,
        only_test=only_test,
    )
    if list(loaded.classes) != config.classes:
        raise BadArtifact(
            f"{data.get('path', data['name'])} has the classes {', '.join(loaded.classes)}; "
            f"this {config.model} was trained on {', '.join(config.classes or [])}"
        )
    return loaded
