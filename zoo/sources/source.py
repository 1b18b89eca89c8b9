"""MODEL on the command line becomes a network with weights, its input shape and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.data import Data, Preprocessing, load, normalise, read_image, spec_of
from zoo.data.folder import IMAGE_SUFFIXES
from zoo.errors import BadArtifact, UsageError
from zoo.models import build, info, names
from zoo.models.calibration import calibrate_batch_norms, synthetic_images
from zoo.models.counting import macs
from zoo.runs.checkpoint import Run, RunConfig, load_run, newest_run
from zoo.runs.folders import list_runs
from zoo.sources.foreign import find_foreign, is_foreign

MAX_LABELLED = 4000
"""Test images that measure accuracy: more would not fit into memory at 224x224."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network to compile or evaluate, and where it came from."""

    name: str
    """A name that zoo.models knows, or the name of a foreign network."""
    network: nn.Module
    """In evaluation mode, on the CPU, float32."""
    shape: tuple[int, int, int]
    """Channels, height and width of one sample."""
    native: tuple[int, int, int] | None
    """The shape that it was trained or published for. None if that is unknown."""
    origin: str
    """The run's folder, or `fresh:seed=0`."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of the output."""
    preprocessing: Preprocessing | None = None
    """How pixels become input."""
    run: Run | None = None
    """The run that it was loaded from."""
    untrained: bool = False
    """Whether its weights are seeded noise. Then synthetic images are as good as any."""
    words: tuple[str, ...] = ()
    """The words of a command line that name the same network again."""

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates for one sample. None for a foreign network.

        Its layers may be called in ways that the zoo's counter does not know.
        """
        return None if self.name not in names() else macs(self.network, self.shape)

    def data(self) -> Data | None:
        """The data set that the run was trained on. None for fresh weights."""
        return load_data(self.run.config) if self.run is not None else None

    def fitting_data(self) -> Data | None:
        """That data set, or None if it is gone or its images have another size."""
        try:
            data = self.data()
        except (UsageError, BadArtifact):
            return None
        return data if data is not None and data.shape == self.shape else None

    def samples(self) -> Tensor | None:
        """64 test images (N, C, H, W) to prove artifacts with, or None."""
        data = self.fitting_data()
        if data is None:
            return None
        return data.test.load(torch.linspace(0, len(data.test) - 1, 64).long())

    def labelled(self) -> tuple[Tensor, Tensor] | None:
        """An even sample of the test images (N, C, H, W) and their labels (N,), or None."""
        data = self.fitting_data()
        if data is None:
            return None
        chosen = torch.arange(0, len(data.test), -(-len(data.test) // MAX_LABELLED))
        return data.test.load(chosen), data.test.labels[chosen]

    def calibration(self, folder: Path | None, count: int) -> tuple[Tensor, str] | None:
        """At most `count` images to quantise with, and where they come from.

        They come from `folder` if it is given, and are synthetic for untrained weights. Otherwise
        they come from the split that the network was trained on. None if there is no such split.
        """
        if folder is not None:
            return self._read_images(folder, count), str(folder)
        if self.untrained:
            generator = torch.Generator().manual_seed(0)
            return synthetic_images(min(count, 64), self.shape, generator), "synthetic"
        if self.run is None:
            return None
        data = load_data(self.run.config, only_test=False)
        if data is None or data.shape != self.shape:
            return None
        chosen = torch.linspace(0, len(data.train) - 1, min(count, len(data.train))).long()
        return data.train.load(chosen), f"{data.name}, training half"

    def _read_images(self, folder: Path, count: int) -> Tensor:
        """Images from a folder and the folders in it, evenly chosen, as the network's input."""
        if not folder.is_dir():
            raise UsageError(f"--calibrate {folder} is not a folder; give a folder of images")
        paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        )
        if not paths:
            raise BadArtifact(f"--calibrate {folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        places = torch.linspace(0, len(paths) - 1, min(count, len(paths))).long()
        chosen = [paths[place] for place in places]
        channels, height, width = self.shape
        plain: Preprocessing = {
            "channels": channels,
            "height": height,
            "width": width,
            "mean": [0.0] * channels,
            "std": [1.0] * channels,
        }
        given = self.preprocessing
        how: Preprocessing = plain if given is None else {**given, "height": height, "width": width}
        return torch.stack([normalise(read_image(path, how), how) for path in chosen])


def resolve(
    model: str | None,
    *,
    runs: Path,
    fresh: bool = False,
    seed: int = 0,
    shape: tuple[int, int, int] | None = None,
) -> Source:
    """Return what MODEL names: a run's path, a name's newest run, fresh weights, or foreign code.

    Without MODEL it is the newest run. Raises UsageError if MODEL is neither a path nor a name,
    and for a `shape` whose channels a trained network does not take.
    """
    if model is None:
        if fresh:
            raise UsageError("--fresh needs a model's name, such as: zoo compile resnet18 --fresh")
        return _trained(newest_run(runs), shape)
    if is_foreign(model) and (model.endswith(".py") or not Path(model).exists()):
        return _foreign(model, seed, fresh, shape)
    if Path(model).exists() and (model not in names() or "/" in model):
        return _trained(load_run(model), shape)
    if model not in names():
        info(model)  # raises the error that offers similar names
    if not fresh and list_runs(runs, model):
        return _trained(newest_run(runs, model), shape)
    return _fresh(model, seed, shape or info(model).shape)


def _foreign(model: str, seed: int, fresh: bool, shape: tuple[int, int, int] | None) -> Source:
    foreign = find_foreign(model, seed=seed, fresh=fresh, shape=shape)
    return Source(
        name=foreign.name,
        network=foreign.network,
        shape=foreign.shape,
        native=foreign.native,
        origin=foreign.origin,
        preprocessing=foreign.preprocessing,
        untrained=fresh,
        words=(model, "--seed", str(seed), *(["--fresh"] if fresh else [])),
    )


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
        words=(str(run.folder),),
    )


def _fresh(model: str, seed: int, shape: tuple[int, int, int]) -> Source:
    """Seeded weights with the published number of classes, and norms that look trained."""
    network = build(model, seed=seed, in_channels=shape[0])
    calibrate_batch_norms(network, shape, seed)
    return Source(
        name=model,
        network=network.eval(),
        shape=shape,
        native=(shape[0], *info(model).shape[1:]),
        origin=f"fresh:seed={seed}",
        untrained=True,
        words=(model, "--fresh", "--seed", str(seed)),
    )


def load_data(config: RunConfig, *, only_test: bool = True) -> Data | None:
    """Load the data set that a run was trained on. None if the run names none.

    Raises UsageError or BadArtifact if the set is gone or has changed.
    """
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
