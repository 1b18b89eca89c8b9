"""An artifact becomes a function: `zoo.load`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from compile.loading import Answer
    from zoo.data import Preprocessing


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """An artifact that was verified and loaded: images in, class scores or other outputs out."""

    path: Path
    backend: str
    precision: str
    batch: tuple[int, int]
    """Smallest and largest number of images in one call."""
    shape: tuple[int, int, int]
    """Channels, height and width of one image."""
    dtype: str
    """`float32` for (N, C, H, W), preprocessed; `uint8` for bytes (N, H, W, C)."""
    classes: tuple[str, ...] | None
    """Names of the classes, in the order of the scores; None if the artifact names none."""
    scores: str | None
    """Which of several outputs holds the scores of the classes; None if there is one output."""
    preprocessing: Preprocessing | None
    """How pixels become input, as docs/artifact.md has it; None if it is not known."""
    _answer: Callable[[Tensor], Answer] = field(repr=False)

    def __call__(self, images: Tensor) -> Any:
        """Return what the network computes: (N, C, H, W) float32 -> class scores (N, classes).

        Another output is a float32 tensor (N, ...), and several outputs are a dict of them by their
        names. An artifact built for bytes takes (N, H, W, C) uint8. BadArtifact for another dtype,
        shape or layout, for NaN or infinity, and for a batch that the artifact does not answer.
        """
        return self._answer(images)

    def predict(self, *paths: str | Path) -> list[str]:
        """Return the name of the class of each image file, one call for each.

        BadArtifact for a file that is not an image, UsageError if the artifact names no classes
        or does not say how pixels become its input.
        """
        from zoo.data import normalise, read_image

        if self.classes is None or self.preprocessing is None or self.dtype != "float32":
            raise UsageError(f"{self.path} names no classes, or takes no preprocessed images")
        found = []
        for path in paths:
            image = normalise(read_image(path, self.preprocessing), self.preprocessing)
            rows = image.expand(self.batch[0], -1, -1, -1).contiguous()
            answer = self(rows)
            scores = answer if self.scores is None else answer[self.scores]
            found.append(self.classes[int(scores[0].argmax())])
        return found


def load(path: str | Path, *, accept_error: bool = False) -> Classifier:
    """Verify an artifact, load it into this process, and return it as a function.

    `path` is the artifact's folder. Every file is compared with its hash before a loader reads it.
    `accept_error` takes an artifact that failed its proof and was published all the same.

    Raises BadArtifact if it is damaged, not proved, or built for another torch, CPU or GPU;
    Unavailable if this machine lacks something that can be installed.

    >>> classifier = load("artifacts/resnet18-3fa9c2d1/inductor-fp32-b1-cpu")
    >>> scores = classifier(torch.zeros(1, *classifier.shape))
    """
    from compile.artifact.manifest import classes_of
    from compile.artifact.status import open_to_run
    from compile.loading import answering, load_artifact

    artifact = open_to_run(Path(path), accept_error=accept_error)
    manifest, batches = artifact.manifest, [program.batch for program in artifact.programs]
    model, outputs, classes = manifest["model"], manifest["outputs"], classes_of(manifest)
    named = [output["name"] for output in outputs if output.get("classes")]
    return Classifier(
        path=Path(path),
        backend=manifest["backend"],
        precision=manifest["precision"],
        batch=(min(low for low, _ in batches), max(high for _, high in batches)),
        shape=artifact.input.chw,
        dtype=artifact.input.dtype,
        classes=None if classes is None else tuple(classes),
        scores=named[0] if len(outputs) > 1 and named else None,
        preprocessing=model["preprocessing"],
        _answer=answering(artifact, load_artifact(artifact, unproved=True)),
    )
