"""The artifacts that a command is about, and the zoo-run and the test images for them."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from compile.files import is_of_the_machine
from zoo.errors import BadArtifact, CheckFailed, Unavailable, UsageError, ZooError

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest
    from compile.proof.images import Labelled
    from zoo.runs.checkpoint import Run


NO_SCORES = "none of its outputs holds scores of classes"
"""Why there is no accuracy, whatever images there are."""


def artifact_folder(path: Path) -> Path:
    """`path`, if it is a folder. UsageError if nothing is, BadArtifact for something else."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path} is not a folder; `zoo list` shows the artifacts") from None
    except OSError as error:
        kind = Unavailable if is_of_the_machine(error) else BadArtifact
        raise kind(f"{path}: {error.strerror}; `zoo list` shows the artifacts") from None
    if not stat.S_ISDIR(mode):
        raise BadArtifact(f"{path} is not a folder; an artifact is the folder of a manifest.json")
    return path


def _is_path(what: str) -> bool:
    """Whether WHAT is a path, and not the name of a model that a file happens to have too."""
    try:
        return "/" in what or not stat.S_ISREG(os.stat(what).st_mode)
    except FileNotFoundError:
        return False
    except OSError:  # too long, say
        return True


def select(what: str | None, root: Path, *, everything: bool) -> list[Path]:
    """The folders of artifacts that `what` names: a path, or a model's name, folder or run.

    Without `what`, those of the model that was compiled last; with `everything`, all. Raises
    UsageError if there are none.
    """
    from compile.artifact.publishing import find_artifacts
    from zoo.models import names
    from zoo.runs.checkpoint import load_run

    if what is not None and _is_path(what) and (what not in names() or "/" in what):
        folder = artifact_folder(Path(what)).resolve()
        if not (folder / "config.json").is_file():
            inside = [path for path in find_artifacts(folder.parent) if path.parent == folder]
            return inside or [folder]
        config = load_run(folder).config
        what = f"{config.model}-{config.weights_sha256[:8]}"
    paths = find_artifacts(root)
    if what is not None:
        paths = [
            path
            for path in paths
            if what in (path.parent.name, path.parent.name.rpartition("-")[0])
        ]
    if not paths:
        named = f" of '{what}'" if what else ""
        raise UsageError(f"no artifact{named} below {root}; build one with `zoo compile`")
    if everything:
        return paths
    newest = max(paths, key=lambda path: path.stat().st_mtime).parent
    return [path for path in paths if path.parent == newest]


def only_one(paths: list[Path], flag: str) -> Path:
    """The one artifact among `paths`. Raises UsageError if there are several."""
    if len(paths) > 1:
        raise UsageError(
            f"{flag} takes one artifact, found {len(paths)}: name one, such as {paths[0]}"
        )
    return paths[0]


def ready_runner(given: Path | None) -> Path | None:
    """zoo-run as given or on PATH. In a checkout it is built first, unless it is up to date.

    If building breaks, the one built before is used, and a line on stderr says so.
    """
    from compile.runner import build_runner, find_runner, is_built_here

    on_path = shutil.which("zoo-run")
    if given is not None or (on_path is not None and not is_built_here(Path(on_path))):
        return find_runner(given)
    try:
        return build_runner() or find_runner()
    except Unavailable as error:
        earlier = find_runner()
        instead = "using the one built before" if earlier else "continuing without it"
        print(f"zoo: {error}; {instead}", file=sys.stderr)
        return earlier


def can_bisect(manifest: Manifest) -> bool:
    """Whether `zoo bisect` looks into artifacts of this kind."""
    from compile.bisect.taps import check_backend

    try:
        check_backend(manifest["backend"])
    except UsageError:
        return False
    return bool(manifest["device"] == "cpu")


def raise_worst(errors: list[ZooError]) -> None:
    """Raise the errors of the gravest kind as one; do nothing if there are none."""
    for kind in (BadArtifact, CheckFailed, UsageError, Unavailable):
        chosen = [error for error in errors if isinstance(error, kind)]
        if chosen:
            raise kind("; ".join(map(str, chosen)))


class TestSets:
    """Test images for artifacts. Each set is read, and classified in float64, only once."""

    def __init__(self, runs: Path, images: int) -> None:
        """Look for runs below `runs`; take at most `images` images of each, evenly."""
        self._runs, self._images = runs, images
        self._kept: tuple[object, Labelled] | None = None  # one: those of 224x224 take gigabytes

    def of(self, artifact: Path) -> Labelled | str:
        """The test images of the run that it was built from, or of one with the same weights.

        If there are none, a few words that say why.
        """
        from compile.artifact.manifest import read_manifest
        from compile.artifact.reading import input_of
        from zoo.runs.checkpoint import find_weights, load_run

        manifest = read_manifest(artifact)
        model = manifest["model"]
        if not any(output["top1"] for output in manifest["parity"]["outputs"]):
            return NO_SCORES
        folder = find_weights(self._runs, model["weights_sha256"])
        source = Path(model["source"])
        if folder is None and (source / "config.json").is_file():
            folder = source
        if folder is None:
            gone = source.is_absolute() or len(source.parts) > 2
            return f"its run {source} is gone" if gone else f"its source, {source}, is not a run"
        try:
            run = load_run(folder)
            if run.config.weights_sha256 != model["weights_sha256"]:
                return f"{folder} holds other weights now"
            return self._read(run, input_of(manifest).chw)
        except ZooError as error:
            return str(error)

    def _read(self, run: Run, shape: tuple[int, int, int]) -> Labelled | str:
        import torch

        from compile.proof.accuracy import reference_classes
        from compile.proof.images import Labelled
        from zoo.sources.source import load_data

        key = run.folder.resolve(), shape
        if self._kept is None or self._kept[0] != key:
            data = load_data(run.config)
            if data is None:
                return f"{run.folder} names no data set"
            if data.shape != shape:
                return "its test images have another size"
            chosen = torch.arange(0, len(data.test), -(-len(data.test) // self._images))
            images = data.test.load(chosen)
            labels = data.test.labels[chosen]
            reference = reference_classes(run.build(), images)
            self._kept = key, Labelled(images=images, labels=labels, reference=reference)
        return self._kept[1]
