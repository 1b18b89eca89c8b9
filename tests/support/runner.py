"""Artifacts written by hand for zoo-run: any program, golden samples, a manifest true of both."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import torch

from compile.artifact.manifest import GOLDEN, Manifest, write_manifest
from compile.artifact.publishing import file_entries
from compile.artifact.tensors import write_tensors
from tests.support.manifests import base, each_bound

ROWS = 16
FLOOR = 1e-6


def weights() -> torch.Tensor:
    """(4, 3) float32: the one layer of every network here."""
    return torch.linspace(-1, 1, 12).reshape(4, 3)


def golden_input(byte_input: bool = False) -> torch.Tensor:
    """(16, 1, 2, 2) float32, or (16, 2, 2, 1) uint8."""
    if byte_input:
        return (torch.arange(ROWS * 4) * 37 % 256).to(torch.uint8).reshape(ROWS, 2, 2, 1)
    return torch.linspace(-2, 3, ROWS * 4).sin().reshape(ROWS, 1, 2, 2)


def write_artifact(
    folder: Path,
    files: dict[str, bytes],
    programs: list[dict[str, Any]],
    *,
    byte_input: bool = False,
    floor: float = FLOOR,
    **changes: Any,
) -> Path:
    """Write an artifact whose programs compute `flatten(x) @ weights()`, bytes scaled to 0..1.

    `changes` replace fields of the manifest: backend, precision, requirements.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    x = golden_input(byte_input)
    oracle = x.flatten(1).double() / (255 if byte_input else 1) @ weights().double()
    write_tensors(folder / GOLDEN, {"inputs/input": x, "oracle/logits": oracle})
    write_manifest(folder, _manifest(folder, programs, byte_input, floor) | changes)
    return folder


def run(runner: Path, *arguments: object) -> tuple[int, str, str]:
    """Return zoo-run's exit code, stdout and stderr."""
    command = [str(runner), *map(str, arguments), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def refused(runner: Path, *arguments: object, code: int) -> str:
    """Return the one line with which zoo-run refuses."""
    got, out, err = run(runner, *arguments)
    assert (got, out, len(err.splitlines())) == (code, "", 1), (got, out, err)
    return err


def check(runner: Path, folder: Path, *options: object) -> dict[str, Any]:
    """Return the `check` part of zoo-run's report; it must pass."""
    code, out, err = run(runner, folder, "--check", "--json", "-", *options)
    assert code == 0, (code, out, err)
    return json.loads(out)["check"]


def _manifest(
    folder: Path, programs: list[dict[str, Any]], byte_input: bool, floor: float
) -> Manifest:
    given = (
        {"dtype": "uint8", "layout": "NHWC", "shape": [2, 2, 1]}
        if byte_input
        else {"dtype": "float32", "layout": "NCHW", "shape": [1, 2, 2]}
    )
    manifest = base()
    manifest.update(
        backend="openvino",
        target={"name": "any", "cpuid": []},
        inputs=[{"name": "input", **given}],
        programs=programs,
        files=file_entries(folder),
        graph=None,
    )
    manifest["requirements"].update(torch=None, isa=[], load_first=[])
    each_bound(floor=floor, bound=2e-7 + floor)(manifest)
    return manifest
