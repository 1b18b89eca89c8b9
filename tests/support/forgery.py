"""Programs that are changed inside their files, one function for each kind of file."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from compile.artifact.manifest import Manifest
from compile.artifact.programs import ProgramFile
from compile.artifact.publishing import file_entries
from compile.artifact.reading import open_artifact
from compile.backends import inductor_file

Change = Callable[[torch.Tensor], object]
"""Changes a constant of a program in place."""


def forge(folder: Path, change: Change) -> bool:
    """Change the constants of every program in the folder, under fitting hashes.

    Returns whether a byte of it is another one now.
    """
    artifact = open_artifact(folder)
    edit = EDITORS[artifact.manifest["backend"]]
    changed = False
    for program in artifact.programs:
        path = folder / program.file
        before = path.read_bytes()
        edit(path, program, change)
        changed |= path.read_bytes() != before
    refit(folder)
    return changed


def refit(folder: Path) -> None:
    """Give the files of the folder their hashes, as a forger would."""
    rewrite(folder, lambda manifest: manifest.update(files=file_entries(folder)))


def edit_onnx(path: Path, change: Callable[[Any], None]) -> None:
    """Change the graph of an .onnx file."""
    import onnx

    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def replace_text(path: Path, old: str, new: str, *, times: int) -> None:
    """Change the code in a .ts file in which `old` stands `times` times."""
    members = _members(path)
    count = 0
    for name, content in members.items():
        if "/code/" in name and name.endswith(".py"):
            count += content.count(old.encode())
            members[name] = content.replace(old.encode(), new.encode())
    assert count == times, f"{old!r} stands there {count} times"
    _write_members(path, members)


def _edit_torchscript(path: Path, program: ProgramFile, change: Change) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(path)
        graph = module.inlined_graph  # its nodes die with it
        for node in graph.findAllNodes("prim::Constant"):
            value = node.output().toIValue()
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                change(value)
        module.save(path)
    del program


def _edit_exported(path: Path, program: ProgramFile, change: Change) -> None:
    del program
    saved = torch.export.load(path)
    with torch.no_grad():
        for value in saved.state_dict.values():
            change(value)
    torch.export.save(saved, path)


def _edit_initializers(path: Path, program: ProgramFile, change: Change) -> None:
    from onnx import numpy_helper

    def edit(model: Any) -> None:
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor).copy()
            if array.dtype in ("float32", "int8"):
                change(torch.from_numpy(array))
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    del program
    edit_onnx(path, edit)


def _edit_library(path: Path, program: ProgramFile, change: Change) -> None:
    """Change the constants where they lie, in the shared library inside the .pt2."""
    del program
    members = _members(path)
    name = next(name for name in members if name.endswith(".so"))
    kept = inductor_file.blob(str(path))
    start = members[name].index(kept)
    blob = bytearray(kept)
    at = 0
    for row in inductor_file.layout(str(path)):
        if row.folded:
            continue
        dtype = getattr(torch, row.dtype)
        if dtype.is_floating_point or dtype == torch.int8:
            bits = torch.frombuffer(blob, dtype=torch.uint8)[at : at + row.bytes]
            change(bits.view(dtype).reshape([1] * (len(row.shape) - 1) + [-1]))
        at += (row.bytes + 63) // 64 * 64
    library = members[name]
    members[name] = library[:start] + bytes(blob) + library[start + len(blob) :]
    _write_members(path, members)


EDITORS: dict[str, Callable[[Path, ProgramFile, Change], None]] = {
    "torchscript": _edit_torchscript,
    "eager": _edit_exported,
    "onnx": _edit_initializers,
    "openvino": _edit_initializers,
    "inductor": _edit_library,
}


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write_members(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def rewrite(folder: Path, change: Callable[[Manifest], object]) -> None:
    """Change a manifest and give it a fitting hash, as a forger would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    put_manifest(folder, json.dumps(manifest).encode())


def put_manifest(folder: Path, text: bytes) -> None:
    """Write a manifest that no rule was asked about, and its hash."""
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sha256").write_text(hashlib.sha256(text).hexdigest() + "\n")
