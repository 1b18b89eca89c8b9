"""The network that an artifact was built from, as its manifest names it.

A manifest may name weights, zoo's own networks and timm's, but no other code: whoever gives the
artifact away would choose what is imported here.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import BadArtifact, UsageError

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest
    from zoo.sources.source import Source

_FRESH = re.compile(r"fresh:seed=(?P<seed>[0-9]{1,18})")
_TIMM = re.compile(r"(?P<model>timm:[\w.-]+)(?P<fresh> fresh:seed=(?P<seed>[0-9]{1,18}))?")
_CODE = re.compile(r"(?P<model>[\w.]+:[\w.]+)( seed=(?P<seed>[0-9]{1,18}))?(?P<fresh> fresh)?")
"""How zoo.sources writes sources that are not runs."""


def find_source(artifact: Path, manifest: Manifest, model: str | None, runs: Path) -> Source:
    """The network that an artifact was built from, as `model` names it, or else the manifest.

    Raises UsageError if the manifest names other code, and BadArtifact if its run is gone
    or it names no source.
    """
    from compile.artifact.reading import input_of
    from zoo.sources.foreign import is_foreign
    from zoo.sources.source import resolve

    origin: str = manifest["model"]["source"]
    fresh, foreign = _FRESH.fullmatch(origin), _TIMM.fullmatch(origin) or _CODE.fullmatch(origin)
    chosen = _named_by(artifact, manifest, runs) if model is None else model
    seeded = foreign if is_foreign(chosen) else fresh
    return resolve(
        chosen,
        runs=runs,
        fresh=seeded is not None and (seeded is fresh or seeded["fresh"] is not None),
        seed=int(seeded["seed"] or 0) if seeded else 0,
        shape=input_of(manifest).chw,
    )


def _named_by(artifact: Path, manifest: Manifest, runs: Path) -> str:
    """MODEL as the manifest has it, if that imports nothing but zoo and timm."""
    from zoo.models import names
    from zoo.runs.checkpoint import find_weights

    name, origin = manifest["model"]["name"], manifest["model"]["source"]
    folder = find_weights(runs, manifest["model"]["weights_sha256"])
    if folder is not None:
        return str(folder.resolve())
    if (Path(origin) / "config.json").is_file():
        return str(Path(origin).resolve())
    if _FRESH.fullmatch(origin) and name in names():
        return str(name)
    if timm := _TIMM.fullmatch(origin):
        return timm["model"]
    if code := _CODE.fullmatch(origin):
        again = shlex.join(["zoo", "bisect", str(artifact), "--model", code["model"]])
        raise UsageError(
            f"the artifact was built from {code['model']}, and a manifest may name runs, zoo's "
            f"networks and timm's, but no other code to import; if you trust it, run `{again}`"
        )
    raise BadArtifact(
        f"the artifact was built from {origin}, which is not here; name its run or model "
        "with --model"
    )
