"""Build several artifacts and keep the fastest, whose manifest says why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.advice import no_runner
from compile.backends import BACKENDS
from compile.backends import backend as find_backend
from compile.backends import choose as choose_backend
from compile.machine import emulated
from compile.precision import REFERENCE
from compile.precision import precision as find_precision
from zoo.errors import CheckFailed, Unavailable, UsageError, ZooError

if TYPE_CHECKING:
    from compile.api import Result
    from compile.artifact.manifest import Manifest
    from compile.measure.fastest import Candidate, Choice
    from compile.proof.images import Labelled
    from zoo.sources.source import Source

FASTEST = "fastest"
"""Given as a backend: build with each one whose artifacts zoo-run can compare, and keep one."""

GOALS = ("latency", "throughput")
"""What the choice is for: one call of the smallest batch, or images in calls of the largest."""

UNLABELLED = "there are no labelled test images"
UNJUDGED = UNLABELLED + ", so what {} loses is not known"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of the fastest artifact."""

    goal: str = GOALS[0]
    """One of GOALS."""
    batch: tuple[int, int] = (1, 1)
    """The batches that every candidate was built for."""
    threads: int | None = None
    """None: all usable cores."""
    seed: int = 0
    """Decides the order of the turns."""
    max_accuracy_loss: float | None = None
    """Percentage points that a lowered precision may lose; None: any number."""
    keep_all: bool = False
    """Whether what was built for the comparison stays."""

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise UsageError(f"unknown goal '{self.goal}'; choose one of: {', '.join(GOALS)}")

    @property
    def rows(self) -> int:
        """How many images each call of the comparison takes."""
        return self.batch[self.goal == GOALS[1]]


@dataclass(frozen=True, kw_only=True)
class Fastest:
    """The artifact that was chosen, and what it was compared with."""

    path: Path
    """Folder of the artifact that was chosen."""
    manifest: Manifest
    """Its manifest; `evidence` has the choice."""
    choice: Choice
    candidates: tuple[Candidate, ...]
    """In the order in which they were given."""
    manifests: dict[str, Manifest]
    """Path -> manifest, of each candidate."""
    comparison: dict[str, Any]
    """zoo-run's report."""
    removed: tuple[Path, ...]
    """Candidates that were removed."""


def backends_of(device: str | None) -> list[str]:
    """The backends that build for a device, the CPU by default. A CPU's programs are not compared
    with a GPU's.
    """
    return [name for name in BACKENDS if (device or "cpu") in find_backend(name).PRECISIONS]


def build_fastest(
    build: Callable[[str, str], Result],
    runner: Path | None,
    wish: Wish,
    source: Source,
    precision: str,
    device: str,
    root: Path,
) -> Result:
    """Build every candidate by `build(backend, precision)` and keep the fastest; see keep_fastest.

    What was below `root` before must stay. Raises Unavailable without a zoo-run, and CheckFailed if
    nothing could be built, or nothing can be taken.
    """
    from compile.artifact.publishing import find_artifacts

    if runner is None:
        raise Unavailable(no_runner("comparing"))
    before = find_artifacts(root)
    unlabelled = wish.max_accuracy_loss is not None and source.labelled() is None
    built: list[Result] = []
    left_out: list[dict[str, str]] = []
    for name in backends_of(device):
        for each in precisions_of(name, precision, device, wish.max_accuracy_loss):
            left = {"backend": name, "precision": each}
            reason = _obstacle(name, each, device, runner, unlabelled=unlabelled)
            if reason is not None:
                left_out.append({**left, "reason": reason})
                continue
            try:
                built.append(build(name, each))
            except UsageError:
                raise
            except ZooError as error:
                left_out.append({**left, "reason": str(error)})
    if not built:
        said = "; ".join(f"{each['backend']}: {each['reason']}" for each in left_out)
        raise CheckFailed(f"no candidate could be built: {said}")
    places = [result.path for result in built]
    disposable = [each.path for each in built if each.built and each.path not in before]
    fastest = keep_fastest(
        places, runner, wish, source=source, disposable=disposable, left_out=left_out
    )
    chosen = built[places.index(fastest.path)]
    seconds = sum(result.seconds for result in built)
    return replace(chosen, seconds=seconds, manifest=fastest.manifest)


def _obstacle(
    backend: str, precision: str, device: str, runner: Path, *, unlabelled: bool
) -> str | None:
    """Why an artifact cannot be built, compared or judged here; None if it can."""
    from compile.runner import has_engine

    if not has_engine(runner, backend):
        return "zoo-run has no engine for it"
    if unlabelled and find_precision(precision).lowered:
        return UNJUDGED.format(precision)
    try:
        choose_backend(backend, precision, device)
    except (Unavailable, UsageError) as error:
        return str(error)
    return None


def precisions_of(
    backend: str, precision: str, device: str, max_accuracy_loss: float | None
) -> list[str]:
    """The precisions to try: those named, with commas between them. If accuracy may be lost and
    none is named, all that this machine computes in and does not just emulate.
    """
    if max_accuracy_loss is None or precision != REFERENCE:
        return list(dict.fromkeys(precision.split(",")))
    known = find_backend(backend).PRECISIONS[device]
    return [each for each in known if emulated(each, device) is None]


def keep_fastest(
    paths: Sequence[Path],
    runner: Path,
    wish: Wish,
    *,
    source: Source,
    disposable: Collection[Path] = (),
    left_out: Sequence[dict[str, str]] = (),
    progress: Callable[[str], None] = lambda stage: None,
) -> Fastest:
    """Compare artifacts of one network, note the choice in the manifest of the fastest, and remove
    those of the others that are `disposable`, unless the wish is to keep all.

    `left_out` names what could not take part: `backend`, `precision` and `reason` of each.

    Raises CheckFailed if none can be taken, and what zoo.compare raises; nothing is removed then.
    """
    from compile.artifact.evidence import write_evidence
    from compile.artifact.manifest import read_manifest
    from compile.artifact.publishing import withdraw
    from compile.measure.compare import compare
    from compile.measure.fastest import candidates, choose, evidence

    manifests = [read_manifest(path) for path in paths]
    accuracies = _accuracies(paths, manifests, source, progress)
    progress(f"comparing {len(paths)} artifacts, each in processes of its own")
    report = compare(paths, runner, seed=wish.seed, threads=wish.threads, batch=wish.rows)
    found = candidates(report, manifests, accuracies, wish.max_accuracy_loss)
    choice = choose(found)
    best = paths[found.index(choice.best)]
    asked = {"goal": wish.goal, "max_accuracy_loss": wish.max_accuracy_loss}
    said = evidence(choice, found, report, **asked, left_out=list(left_out))
    manifest = write_evidence(best, said)
    disposed = () if wish.keep_all else [each for each in paths if each in disposable]
    removed = tuple(each for each in disposed if each != best)
    for each in removed:
        withdraw(each)
    known = dict(zip(map(str, paths), manifests, strict=True))
    return Fastest(
        path=best,
        manifest=manifest,
        choice=choice,
        candidates=tuple(found),
        manifests={**known, str(best): manifest},
        comparison=report,
        removed=removed,
    )


def _accuracies(
    paths: Sequence[Path],
    manifests: Sequence[Manifest],
    source: Source,
    progress: Callable[[str], None],
) -> list[dict[str, Any] | str | None]:
    """What each artifact loses in accuracy, or why that is not known; None at full precision."""
    from compile.proof.counting import count_loss

    lowered = [find_precision(manifest["precision"]).lowered for manifest in manifests]
    if not any(lowered):
        return [None] * len(paths)
    labelled = labelled_images(source)
    counted: list[dict[str, Any] | str | None] = []
    for path, is_lowered in zip(paths, lowered, strict=True):
        if not is_lowered:
            counted.append(None)
        elif labelled is None:
            counted.append(UNLABELLED)
        else:
            progress(f"counting what {path.name} classifies correctly")
            counted.append(count_loss(path, labelled) or "no output holds scores of classes")
    return counted


def labelled_images(source: Source) -> Labelled | None:
    """Test images of a network with the classes that it gives in float64; None without data."""
    from compile.proof.accuracy import reference_classes
    from compile.proof.images import Labelled

    found = source.labelled()
    if found is None:
        return None
    images, labels = found
    reference = reference_classes(source.network, images)
    return Labelled(images=images, labels=labels, reference=reference)
