"""Runs: a trained network on disk, with everything that is needed to trust and rebuild it.

runs/resnet18/20260102-030405/      the time training began; -2, -3 ... if that is taken
  weights.safetensors               the state dict
  config.json                       RunConfig: how it was made, and the hash of the weights
  metrics.csv, times.csv            one row for each epoch: what it reached, how fast it was

A folder without config.json is not a run (draft.py says what it may be). Files are written whole
or not at all.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from compile.machine import commit, now, versions
from compile.network.weights import check_finite, weights_sha256
from zoo.data import INTERPOLATIONS, Preprocessing
from zoo.errors import BadArtifact, UsageError
from zoo.models import build
from zoo.runs.folders import CONFIG, WEIGHTS, list_runs

SCHEMA = "1.0"


@dataclass(frozen=True, kw_only=True)
class Results:
    """What training ended with."""

    test_accuracy: float
    """0..1, measured once, after the last epoch."""
    test_correct: int
    """Test images that were classified correctly."""
    test_total: int
    """Test images."""
    epochs: int
    """Epochs of training."""
    seconds: float
    """Wall time of training and of the evaluation."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The content of config.json."""

    model: str
    """A name that zoo.models.build knows."""
    options: dict[str, Any]
    """Options of the network: num_classes, in_channels, stem."""
    classes: list[str] | None = None
    """Class names in the order of the output."""
    preprocessing: Preprocessing | None = None
    """How pixels become input."""
    data: dict[str, Any] | None = None
    """`name` and, for a folder, `path`."""
    recipe: dict[str, Any] | None = None
    """Fields of zoo.training.recipe.Recipe. None if the weights were imported."""
    seed: int = 0
    """Everything random in training derives from it."""
    results: Results | None = None
    """None if the weights were imported."""
    source: dict[str, Any] | None = None
    """The file of imported weights: its name as `file`, its `sha256`, its `dtype`, and `new_head`
    if an untrained head replaced its own. None if the weights were trained here."""
    weights_sha256: str = ""
    """compile.network.weights.weights_sha256 of the state dict."""
    versions: dict[str, str] = field(default_factory=versions)
    """Package -> version."""
    threads: int = field(default_factory=torch.get_num_threads)
    """torch's threads in each process."""
    processes: int = 1
    """Processes that trained it together."""
    device: str = "cpu"
    """`cpu` or `cuda`: where it was trained."""
    date: str = field(default_factory=now)
    """When training began, in UTC."""
    commit: str | None = field(default_factory=commit)
    """Of the zoo's source. None outside of a git checkout."""
    schema: str = SCHEMA
    """Major and minor version. Another major version is refused."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that was read and verified."""

    folder: Path
    config: RunConfig
    weights: dict[str, Tensor]
    """The state dict. It is finite and has the hash in the config."""

    def build(self) -> nn.Module:
        """Return the network with these weights, in evaluation mode, on the CPU."""
        network = _structure(self.config)
        copies = {name: tensor.clone() for name, tensor in self.weights.items()}
        network.load_state_dict(copies, assign=True)
        return network.eval()


def find_weights(root: str | Path, sha256: str) -> Path | None:
    """The newest run below `root` whose config names these weights. Damaged runs are skipped."""
    for folder in reversed(list_runs(root)):
        try:
            if read_config(folder / CONFIG).weights_sha256 == sha256:
                return folder
        except BadArtifact:
            continue
    return None


def newest_run(root: str | Path = "runs", model: str | None = None) -> Run:
    """Load the run that began last. UsageError if there is no run."""
    folders = list_runs(root, model)
    if not folders:
        what = f"no run of {model}" if model else "no run"
        raise UsageError(f"{what} under {root}; run `zoo train {model or 'resnet18'}`")
    return load_run(folders[-1])


def load_run(path: str | Path) -> Run:
    """Read and verify a run folder, or the weights.safetensors inside one.

    Raises UsageError if there is no such run. Raises BadArtifact if it is damaged: no file, bad
    JSON, another schema, or weights that have another hash, do not fit or are not finite.
    """
    folder = Path(path).parent if Path(path).name == WEIGHTS else Path(path)
    if not (folder / CONFIG).is_file():
        special = folder.exists() and not folder.is_dir() and not folder.is_file()  # a socket, say
        kind = BadArtifact if special else UsageError
        raise kind(f"no run at {path}; `zoo list` shows the runs, `zoo train` makes one")
    config = read_config(folder / CONFIG)
    weights = _read_weights(folder / WEIGHTS)
    if weights_sha256(weights) != config.weights_sha256:
        raise BadArtifact(
            f"{folder / WEIGHTS} is not what config.json was written for (its hash differs); "
            "restore it from a copy or train again"
        )
    check_fits(weights, config, str(folder / WEIGHTS))
    check_finite(weights, str(folder / WEIGHTS))
    return Run(folder=folder, config=config, weights=weights)


def read_config(path: Path) -> RunConfig:
    """Read config.json, or training.json; BadArtifact if it is damaged or of another schema."""
    try:
        content = json.loads(path.read_bytes())
        if content["schema"].split(".")[0] != SCHEMA.split(".")[0]:
            raise BadArtifact(f"{path} has schema {content['schema']}; this zoo reads {SCHEMA}")
        known = {entry.name for entry in fields(RunConfig)}
        content = {key: value for key, value in content.items() if key in known}
        if content.get("results") is not None:
            content["results"] = Results(**content["results"])
        _check_content(content)
        return RunConfig(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadArtifact(f"{path} is not a run's config: {error}; train again") from None


def _check_content(content: dict[str, Any]) -> None:
    """Raise ValueError unless the content has the form that later code relies on."""
    wanted = content.get("preprocessing")
    if wanted is not None:
        sizes = [wanted["channels"], wanted["height"], wanted["width"]]
        scales = [*wanted["mean"], *wanted["std"]]
        whole = all(type(size) is int and size > 0 for size in sizes)
        if not whole or not all(isinstance(each, float | int) for each in scales):
            raise ValueError("its preprocessing has another form")
        resize, interpolation = wanted.get("resize", 1), wanted.get("interpolation", "bilinear")
        if type(resize) is not int or interpolation not in INTERPOLATIONS:
            raise ValueError("its preprocessing has another form")
    if not isinstance(content.get("model"), str) or type(content.get("seed", 0)) is not int:
        raise ValueError("its model or its seed has another form")
    if not isinstance(content.get("options"), dict):
        raise ValueError("its options have another form")
    for key in ("data", "source", "recipe"):
        if not isinstance(content.get(key), dict | None):
            raise ValueError(f"its {key} has another form")
    classes = content.get("classes")
    if classes is not None and not (
        isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    ):
        raise ValueError("its classes are not a list of names")
    if classes is not None and len(classes) != content["options"].get("num_classes"):
        raise ValueError("it has another number of classes than its network")


def config_text(config: RunConfig) -> str:
    """The text of config.json."""
    return json.dumps(asdict(config), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        loaded: dict[str, Tensor] = safetensors.torch.load(path.read_bytes())
    except FileNotFoundError:
        raise BadArtifact(f"{path} is missing; restore it or train again") from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise BadArtifact(f"{path} cannot be read: {error}; restore it or train again") from None
    return loaded


def _structure(config: RunConfig) -> nn.Module:
    """The network of a config, without memory for its weights, however large they claim to be."""
    try:
        with torch.device("meta"):
            return build(config.model, **config.options)
    except (UsageError, TypeError, RuntimeError) as error:
        raise BadArtifact(f"no network fits this config: {error}") from None


def check_fits(weights: dict[str, Tensor], config: RunConfig, source: str) -> None:
    """Raise BadArtifact unless the weights are the network's: the same names, shapes and types."""
    expected = _structure(config).state_dict()
    for name in sorted(expected.keys() ^ weights.keys()):
        what = "lacks" if name in expected else "holds an unknown"
        raise BadArtifact(f"{source} {what} tensor '{name}', so it is not a {config.model}")
    for name, tensor in expected.items():
        given = weights[name]
        if (given.shape, given.dtype) != (tensor.shape, tensor.dtype):
            raise BadArtifact(
                f"{source}: tensor '{name}' is {given.dtype} {list(given.shape)}, but "
                f"{config.model} here needs {tensor.dtype} {list(tensor.shape)}"
            )
