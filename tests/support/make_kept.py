"""Writes tests/data/kept: one artifact of schema 2.0, which every later reader must open.

It was written once and stays as it is. Run this only when a new major schema begins.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from compile.api import compile_module
from compile.artifact.manifest import read_manifest, write_manifest
from compile.artifact.publishing import publish
from compile.runner import find_runner
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_net

KEPT = Path(__file__).parents[1] / "data" / "kept" / "schema-2.0"


def main() -> None:
    """Compile the small network with class scores and a map for OpenVINO, for 1 to 4 images."""
    with tempfile.TemporaryDirectory() as root:
        made = compile_module(
            small_net(),
            CompileSpec(shape=SHAPE, batch=(1, 4)),
            backend="openvino",
            root=root,
            name="kept",
            outputs={"logits": "", "map": "relu3"},
            runner=find_runner(),
            command="python -m tests.support.make_kept",
        )
        manifest = read_manifest(made.path)
        build = {**manifest["build"], "host": "kept", "commit": "unknown"}
        write_manifest(made.path, {**manifest, "build": build})
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        publish(made.path, KEPT)


if __name__ == "__main__":
    main()
