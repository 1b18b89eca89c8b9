"""What an artifact is called, from whatever a document says of it.

A name is the last two folders of an artifact: `resnet18-3fa9c2d1/inductor-bf16-b1-cpu`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from compile.artifact.manifest import MANIFEST
from compile.machine import LEVELS
from compile.page.fields import Json

_LEAF = re.compile(r"[a-z-]+-[a-z0-9]+-b[0-9]+(?:-[0-9]+)?-(?:cpu|cuda)")
_NAME = re.compile(r"[^/]+-[0-9a-f]{8}/" + _LEAF.pattern + r"[^/]*")
_NOT_THE_TASK = re.compile(rf"-(?:{'|'.join(map(re.escape, LEVELS))}|portable|sm_[0-9]+)(?=-|$)")


def name_of_path(path: str, report: Json) -> str:
    """The name of the artifact at `path`; where the path does not show it, one from the report."""
    name = "/".join(PurePosixPath(path).parts[-2:])
    if _NAME.fullmatch(name):
        return name
    words = (str(report.get(key, "?")) for key in ("backend", "precision"))
    leaf = f"{'-'.join(words)}-b{report.get('batch', '?')}-{report.get('device', 'cpu')}"
    return f"{report.get('model', 'model')}/{leaf}"


def name_of_manifest(manifest: Json, path: Path, known: Collection[str]) -> str:
    """The name of the artifact that a manifest is about.

    The folder that it lies in says so. Where it was copied from there, `known` names decide whether
    the input's size is part of the name.
    """
    if path.name == MANIFEST:
        place = "/".join(path.resolve().parts[-3:-1])
        if _NAME.fullmatch(place):
            return place
    model, request = manifest["model"], manifest["build"]["request"]
    low, high = manifest["programs"][0]["batch"][0], manifest["programs"][-1]["batch"][1]
    batch = f"b{low}" if low == high else f"b{low}-{high}"
    folder = f"{model['name']}-{model['weights_sha256'][:8]}"
    head = "-".join([manifest["backend"], manifest["precision"], batch, manifest["device"]])
    head += f"-{manifest['target']['name']}" if request.get("named_level") is True else ""
    gpus = request.get("gpus")
    head += "".join(f"-{gpu}" for gpu in gpus) if isinstance(gpus, list) else ""
    head += "-u8" if manifest["inputs"][0]["dtype"] == "uint8" else ""
    tail = "-portable" if request.get("portable") is True else ""
    asked = request.get("outputs")
    tail += f"-{'+'.join(output['name'] for output in manifest['outputs'])}" if asked else ""
    shape = request.get("shape")
    size = f"-{'x'.join(map(str, shape))}" if isinstance(shape, list) else ""
    with_size, without = f"{folder}/{head}{size}{tail}", f"{folder}/{head}{tail}"
    return with_size if with_size in known else without


def task_of(name: str) -> str:
    """What an artifact computes: its model, and where they are in the name its size and outputs.

    Only artifacts of one task can stand in for each other.
    """
    model, _, leaf = name.partition("/")
    found = _LEAF.match(leaf)
    rest = _NOT_THE_TASK.sub("", leaf[found.end() :]) if found else ""
    return f"{model} {rest.removeprefix('-')}".rstrip()


def leaf_of(name: str) -> str:
    """The artifact's own folder."""
    return name.partition("/")[2] or name
