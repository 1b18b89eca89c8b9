"""Which artifacts a command means, the runner and the data that go with them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import BadArtifact, CheckFailed, Unavailable, UsageError, ZooError

if TYPE_CHECKING:
    from compile.check import TestSet


def select(what: str | None, root: Path, *, everything: bool) -> list[Path]:
    """Artifact folders: one path, those of a model or run, all, or the newest model's."""
    from compile.artifact import find_artifacts
    from zoo.checkpoint import load_run

    if what is not None and Path(what).is_dir():
        folder = Path(what)
        if (folder / "config.json").is_file():
            what = f"{load_run(folder).config.model}-{load_run(folder).config.weights_sha256[:8]}"
        else:
            return [folder]
    found = find_artifacts(root)
    if what is not None:
        found = [
            path
            for path in found
            if what in (path.parent.name, path.parent.name.rpartition("-")[0])
        ]
    if not found:
        named = f" of '{what}'" if what else ""
        raise UsageError(f"no artifact{named} below {root}; build one with `zoo compile`")
    if everything:
        return found
    newest = max(found, key=lambda path: path.stat().st_mtime).parent
    return [path for path in found if path.parent == newest]


def ready_runner(given: Path | None) -> Path | None:
    """zoo-run as given or on PATH; in a checkout it is built, or brought up to date, first."""
    from compile.runner import build_runner, find_runner

    if given is not None or shutil.which("zoo-run"):
        return find_runner(given)
    return build_runner() or find_runner()


def raise_worst(errors: list[ZooError]) -> None:
    """Raise what stopped artifacts from being used, if anything did: damage before absence."""
    for kind in (BadArtifact, CheckFailed, UsageError, Unavailable):
        chosen = [error for error in errors if isinstance(error, kind)]
        if chosen:
            raise kind("; ".join(map(str, chosen)))


def test_set(artifact: Path, runs: Path) -> TestSet | None:
    """The test half for an artifact: of the run it was built from, or of one with its weights.

    None where the weights were never trained, the run is gone, or the input has another size.
    """
    from compile.check import TestSet
    from compile.manifest import read_manifest
    from zoo.checkpoint import list_runs, load_run
    from zoo.source import load_data

    manifest = read_manifest(artifact)
    wanted = manifest["model"]["weights_sha256"]
    for folder in [Path(manifest["model"]["source"]), *reversed(list_runs(runs))]:
        if not (folder / "config.json").is_file():
            continue
        run = load_run(folder)
        data = load_data(run) if run.config.weights_sha256 == wanted else None
        if data is not None and list(data.shape) == manifest["inputs"][0]["shape"]:
            return TestSet(images=data.test_x, labels=data.test_y)
    return None
