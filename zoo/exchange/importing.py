"""Makes a run of weights from elsewhere, or says in one line why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from compile.network.weights import check_finite
from zoo.errors import BadArtifact, UsageError
from zoo.exchange.files import WeightFile, read_weights
from zoo.exchange.formats import tensors_that_depend_on
from zoo.exchange.preprocessing import describe, find_preprocessing
from zoo.models import build, info, names
from zoo.runs.checkpoint import Run, RunConfig
from zoo.runs.draft import save_run

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_COUNTER = "num_batches_tracked"
MAX_CLASSES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A run made of weights from elsewhere."""

    run: Run
    """The run, as it is on disk."""
    notes: list[str]
    """What a user should know about the file and about the run."""


def import_weights(
    model: str,
    path: str | Path,
    *,
    classes: int | list[str] | None = None,
    out: str | Path = "runs",
    key: str | None = None,
    settings: Iterable[str] = (),
    seed: int = 0,
) -> Imported:
    """Make a run below `out` of the weights of `model` in the file `path`.

    The file must hold every tensor of the network and no others. Half precision becomes float32.
    Counters of batches, which old files lack, become zero. `classes`, their number or their names,
    asks for a new head with seeded weights, if the file's head has another number. `key` is that
    of read_weights, and `settings` are those of find_preprocessing. Their errors are raised, and
    BadArtifact for tensors that do not fit or are not finite.
    """
    path = Path(path)
    info(model)  # so an unknown name is an error before a large file is read
    file = read_weights(path, key)
    notes = file.notes
    head = tensors_that_depend_on(model, "num_classes", {})
    first = tensors_that_depend_on(model, "in_channels", {})
    options = {"num_classes": _size(file, head), "in_channels": _size(file, first)}
    weights, dtype = _fitting(file, model, options, notes)
    check_finite(weights, str(path))
    known = find_preprocessing(path, file.sha256, model, options["in_channels"], settings)
    wanted = len(classes) if isinstance(classes, list) else classes or options["num_classes"]
    new_head = wanted != options["num_classes"]
    if new_head:
        weights |= _new_head(model, options, wanted, seed, notes)
    labels = classes if isinstance(classes, list) else None
    if labels is None and not new_head and known.labels and len(known.labels) == wanted:
        labels = known.labels
    notes.append(f"{describe(known.preprocessing)} ({known.origin})")
    source = {"file": file.name, "sha256": file.sha256, "dtype": dtype, "new_head": new_head}
    config = RunConfig(
        model=model,
        options=dict(options),
        classes=labels or [str(index) for index in range(wanted)],
        preprocessing=known.preprocessing,
        seed=seed,
        source=source,
    )
    return Imported(run=save_run(out, weights, config), notes=notes)


def _new_head(
    model: str, options: dict[str, int], classes: int, seed: int, notes: list[str]
) -> dict[str, Tensor]:
    """The seeded weights of a head of `classes` classes. Changes the options to fit it."""
    notes.append(
        f"the head of {options['num_classes']} classes is replaced by one of {classes} with "
        f"random weights (seed {seed}): it knows nothing yet"
    )
    options["num_classes"] = classes
    fresh = build(model, seed=seed, **options).state_dict()
    return {name: fresh[name] for name in tensors_that_depend_on(model, "num_classes", {})}


def read_classes(text: str) -> int | list[str]:
    """Read `--classes`: a number, or a text file with the name of one class on each line.

    Raises UsageError if it is neither, and BadArtifact if the file is not such a text.
    """
    if text.isascii() and text.isdecimal() and not Path(text).exists():
        if not 1 <= int(text) <= MAX_CLASSES:
            raise UsageError(f"--classes {text}: give a number from 1 to {MAX_CLASSES:,}")
        return int(text)
    try:
        content = Path(text).read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"--classes {text}: neither a number nor a file that can be read ({error.strerror})"
        ) from None
    except ValueError:
        raise BadArtifact(
            f"--classes {text} is not UTF-8 text with one name on each line"
        ) from None
    labels = [line.strip() for line in content.splitlines()]
    labels = labels[:-1] if labels and not labels[-1] else labels
    if not labels or not all(labels):
        raise BadArtifact(f"--classes {text} needs one name on each line, and no empty line")
    return labels


def _size(file: WeightFile, tensors: dict[str, int]) -> int:
    """The size of the file's own tensor along the axis that an option decides."""
    for name, axis in tensors.items():
        shape = file.tensors[name].shape if name in file.tensors else ()
        if len(shape) > axis and shape[axis] > 0:
            return int(shape[axis])
    return 3  # any size: the tensor is missing, and the next check says so


def _fitting(
    file: WeightFile, model: str, options: dict[str, int], notes: list[str]
) -> tuple[dict[str, Tensor], str]:
    """The tensors in the form of the network, and the name of the dtype that they had."""
    with torch.device("meta"):
        expected = build(model, **options).state_dict()
    given = file.tensors
    counters = {name for name in expected if name.endswith(_COUNTER)}
    if counters and not counters & given.keys():
        given = given | {name: torch.zeros((), dtype=torch.int64) for name in counters}
        notes.append(f"it has no {_COUNTER}, as in files from before 2018: set to 0")
    faults = [f"lacks '{name}'" for name in expected if name not in given]
    faults += [f"has an unknown '{name}'" for name in given if name not in expected]
    for name in expected.keys() & given.keys():
        wrong = _misfit(given[name], expected[name])
        faults += [f"has '{name}' as {wrong}"] if wrong else []
    if faults:
        more = f" and {len(faults) - 3} more differences" if len(faults) > 3 else ""
        own = file.name.replace(".", "-").split("-")[0]
        hint = f" (its name says {own})" if own != model and own in names() else ""
        raise BadArtifact(
            f"{file.name} is not a {model}{hint}: it {', '.join(sorted(faults)[:3])}{more}; "
            "`zoo list` shows the networks"
        )
    kinds = {each.dtype for each in given.values() if each.is_floating_point()}
    dtype = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
    if kinds != {torch.float32}:
        notes.append(f"its {dtype} became float32")
    return {
        # A copy: what was unpickled may share memory between tensors.
        name: given[name].detach().to(tensor.dtype, copy=True).contiguous()
        for name, tensor in expected.items()
    }, dtype


def _misfit(given: Tensor, expected: Tensor) -> str | None:
    """How a tensor differs from the expected one, or None."""
    plain = given.layout == torch.strided and given.device.type == "cpu"
    same = given.dtype in _FLOATS if expected.is_floating_point() else given.dtype == expected.dtype
    if plain and same and given.shape == expected.shape:
        return None
    kind = str(given.dtype).removeprefix("torch.") if plain else "a tensor of another kind,"
    return f"{kind} {list(given.shape)} instead of {list(expected.shape)}"
