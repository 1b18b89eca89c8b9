"""Several artifacts become one: the fastest stays, and its manifest says why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.precision import precision as find_precision
from zoo.errors import UsageError

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest
    from compile.measure.fastest import Candidate, Choice
    from compile.proof.images import Labelled
    from zoo.sources.source import Source

GOALS = ("latency", "throughput")
"""What is to be fast: one call of the smallest batch, or images in calls of the largest one."""

UNLABELLED = "there are no labelled test images"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the fastest artifact is to be."""

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
        """Of the calls that are compared."""
        return self.batch[self.goal == GOALS[1]]


@dataclass(frozen=True, kw_only=True)
class Fastest:
    """What came out."""

    path: Path
    """Of the artifact that was chosen."""
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
    """Candidates that are not there any more."""


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
