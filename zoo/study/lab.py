"""What the experiments share: trained networks, paired differences, verdicts, files on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Protocol

from zoo.data import Data, load
from zoo.errors import BadArtifact, Unavailable
from zoo.runs.checkpoint import Run, RunConfig, read_config
from zoo.runs.folders import TRAINING, unfinished_runs
from zoo.study.curves import Curve
from zoo.training.recipe import RECIPES, Recipe
from zoo.training.train import Work, find_same, resume, run_config, same_training, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELD, FAILED, OPEN = "held", "did not hold", "not decided"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper, and whether it held here."""

    paper: str
    """What the paper says, and where."""
    measured: str
    """What was measured, with its interval and number of seeds."""
    verdict: str
    """`held`, `did not hold` or `not decided`."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What an experiment found."""

    title: str
    """The heading."""
    setting: str
    """Networks, data, recipe and seeds, in a sentence."""
    claims: list[Claim]
    """The claims with their verdicts."""
    columns: tuple[str, ...]
    """The heads of the table."""
    rows: list[tuple[Any, ...]]
    """The rows of the table."""
    curves: list[Curve]
    """What the picture shows."""


class Experiment(Protocol):
    """The names that each experiment's file defines."""

    SUMMARY: str
    """One line for lists."""

    def run(self, lab: Lab) -> Findings:
        """Train or measure, and return what was found."""

    def draw(self, curves: list[Curve]) -> Figure:
        """The picture of the curves in the findings of `run`."""


@dataclass(kw_only=True)
class Lab:
    """Where an experiment runs, how large it is, and the networks that it has trained."""

    folder: Path
    """Where its runs and its report are written."""
    full: bool = False
    """Use the paper's setting, for a GPU and days, instead of one for two cores and minutes."""
    seeds: int = 3
    """How many times each network is trained."""
    epochs: int = 20
    """Of each training run, unless it is full. Other lengths are in proportion."""
    work: Work = field(default_factory=lambda: Work(quiet=True))
    """How training runs are carried out."""
    source: str = ""
    """A data set for `zoo.data.load` instead of the default one."""
    say: Callable[[str], None] = lambda line: None
    """Called with a line of progress."""
    _data: Data | None = None

    @property
    def data(self) -> Data:
        """CIFAR-10 with `full`, else the bundled digits."""
        if self._data is None:
            self._data = load(self.source or ("cifar10" if self.full else "digits"))
        return self._data

    @property
    def recipe(self) -> Recipe:
        """The paper's recipe, whole or shortened. Neither averages weights nor smooths labels."""
        paper = RECIPES["paper"]
        if self.full:
            return paper
        # The paper's rate of 0.1 is too high for 56 layers and 14 steps an epoch: docs/log.md.
        return replace(paper, epochs=self.epochs, batch=64, lr=0.03, shift=1, flip=False)

    def describe(self) -> str:
        """Data, recipe and seeds, in words for a report."""
        recipe = self.recipe
        return (
            f"{self.data.name}, {len(self.data.train):,} training images of "
            f"{'x'.join(map(str, self.data.shape))}; {recipe.epochs} epochs of batch "
            f"{recipe.batch}, SGD from {recipe.lr:g} in steps, shifts of {recipe.shift}; "
            f"{self.seeds} seeds"
        )

    def train(self, model: str, seed: int, **options: Any) -> Run:
        """Train a network. Take a finished run if there is one, or resume an unfinished one."""
        recipe = self.recipe
        if self.full and model.endswith("110"):
            recipe = RECIPES["paper-deep"]
        config = run_config(model, self.data, recipe, seed=seed, options=options)
        root = self.folder / "runs" / "-".join([f"seed{seed}", *map(str, options.values())])
        same = find_same(root, config)
        if same is not None:
            return same
        self.say(f"training {model} {' '.join(map(str, options.values()))} seed {seed}")
        for folder in unfinished_runs(root):
            if _begun_for(folder, config):
                return resume(folder, self.data, work=self.work)
        return train(
            model, self.data, recipe=recipe, seed=seed, out=root, options=options, work=self.work
        )


def _begun_for(folder: Path, config: RunConfig) -> bool:
    """Whether an unfinished run is the training run of `config`. A damaged one is not."""
    try:
        return same_training(read_config(folder / TRAINING), config)
    except BadArtifact:
        return False


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean, by Student's t. Infinite for a single value."""
    from scipy.stats import t

    if len(values) < 2:
        return -math.inf, math.inf
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def above(values: Sequence[float]) -> str:
    """The verdict on whether the mean of paired differences is above 0, beyond their scatter."""
    low, high = interval(values)
    return HELD if low > 0 else FAILED if high < 0 else OPEN


def not_above(values: Sequence[float], margin: float) -> str:
    """The verdict on whether the mean of paired differences is at most 0, within `margin`."""
    low, high = interval(values)
    return FAILED if low > 0 else HELD if high <= margin else OPEN


def spread(values: Sequence[float], unit: str = "") -> str:
    """The mean and its interval, as `12.3 % (11.0 to 13.6, n = 3)`."""
    low, high = interval(values)
    ends = f"{low:.3g} to {high:.3g}, " if math.isfinite(low) else ""
    return f"{fmean(values):.3g}{unit} ({ends}n = {len(values)})"


def check_drawing() -> None:
    """Raise Unavailable if nothing can be drawn: before hours of training, not after them."""
    if find_spec("matplotlib") is None:
        raise Unavailable("a study draws with matplotlib; run `pip install matplotlib`")
