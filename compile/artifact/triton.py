"""An artifact -> a model of an NVIDIA Triton Inference Server's repository.

REPO/<name>/config.pbtxt        what Triton reads
REPO/<name>/1/<file>            the program, the very bytes whose hash was compared
REPO/<name>/labels.txt          class names, one on each line, for Triton's classification extension
REPO/<name>/preprocessing.json  what a client does to an image first; also in config.pbtxt

Only the manifest is needed: nothing is loaded. The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.artifact.manifest import Manifest, classes_of
from compile.artifact.publishing import publish, staging
from compile.artifact.reading import Artifact
from compile.errors import UsageError

CONFIG = "config.pbtxt"
LABELS = "labels.txt"
PREPROCESSING = "preprocessing.json"

_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
_ENTRY = "model"
"""The name under which Triton looks into a .pt2."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """How Triton runs a kind of file."""

    backend: str
    """Triton's own backend, which is not one of ours."""
    reads: str
    """Suffix of the artifact's file, such as `.onnx`."""
    file: str
    """What the file is called in the repository."""
    platform: str | None = None
    """Where None, the backend's name says it all."""
    graph_names: bool = False
    """Whether tensors are called as in the graph; libtorch has none and counts them."""
    batches: bool = True
    """Whether Triton may join requests to a batch."""
    parameters: tuple[tuple[str, str], ...] = ()
    note: str | None = None
    """What whoever serves it has to know."""


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What was written."""

    path: Path
    platform: str
    notes: tuple[str, ...]


def export_triton(
    artifact: Artifact,
    repository: Path,
    platform: Platform,
    *,
    name: str | None = None,
    force: bool = False,
) -> Handed:
    """Write a verified artifact into a model repository as `name`, by default the model's name.

    `platform` is what compile.backends.triton_platform says. Raises UsageError for a range of
    batches that Triton cannot keep to, for a name that no folder can have, and where something
    stands in the place and `force` is not given. Raises Unavailable if the place cannot be
    written.
    """
    manifest = artifact.manifest
    name = check_name(manifest["model"]["name"] if name is None else name)
    program = widest(manifest)
    text = config(manifest, name, platform)
    final = repository / name
    if os.path.lexists(final) and not force:
        raise UsageError(f"{final} is there already; give --force to replace it, or another --name")
    with staging(final, option="--triton REPO") as folder:
        (folder / CONFIG).write_text(text)
        (folder / "1").mkdir()
        sealed = artifact.files[program["file"]].path
        if program["entry"] in (None, _ENTRY):
            shutil.copyfile(sealed, folder / "1" / platform.file)
        else:
            _single_out(sealed, program["entry"], folder / "1" / platform.file)
        if (classes := classes_of(manifest)) is not None:
            (folder / LABELS).write_bytes(_labels(classes))
        (folder / PREPROCESSING).write_text(_client_json(manifest))
        publish(folder, final, option="--triton REPO")
    return Handed(
        path=final,
        platform=platform.platform or platform.backend,
        notes=_notes(manifest, platform, program),
    )


def check_name(name: str) -> str:
    """Return `name` if Triton and a file system take it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}", name):
        raise UsageError(f"'{name}' is not a name for Triton; give --name letters, digits, . _ -")
    return name


def widest(manifest: Manifest) -> dict[str, Any]:
    """The entry of the manifest's `programs` that answers the most batches."""
    programs: list[dict[str, Any]] = manifest["programs"]
    return max(programs, key=lambda each: (each["batch"][1] - each["batch"][0], each["batch"][1]))


def config(manifest: Manifest, name: str, platform: Platform) -> str:
    """config.pbtxt: a ModelConfig of Triton in protobuf's text format."""
    largest, batch = _batching(manifest, platform)
    given = manifest["inputs"][0]
    input_name = given["name"] if platform.graph_names else "INPUT__0"
    kind = "KIND_GPU" if manifest["device"] == "cuda" else "KIND_CPU"
    lines = [
        f"name: {quoted(name)}",
        *([f"platform: {quoted(platform.platform)}"] if platform.platform else []),
        f"backend: {quoted(platform.backend)}",
        f"default_model_filename: {quoted(platform.file)}",
        f"max_batch_size: {largest}",
        *_tensor("input", input_name, given["dtype"], [*batch, *given["shape"]]),
    ]
    for called, returned in zip(
        _output_names(manifest, platform), manifest["outputs"], strict=True
    ):
        dims, more = [*batch, *returned["shape"]], []
        if not dims:  # one number for each sample, and Triton takes no empty dims
            dims, more = [1], ["reshape { shape: [] }"]
        if returned.get("classes") is not None:
            more.append(f"label_filename: {quoted(LABELS)}")
        lines += _tensor("output", called, returned["dtype"], dims, more)
    if largest > 1:
        lines.append(f"dynamic_batching {{ preferred_batch_size: {_preferred(largest)} }}")
    lines.append(f"instance_group [ {{ count: 1 kind: {kind} }} ]")
    for key, value in (*platform.parameters, *_provenance(manifest)):
        lines.append(
            f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}"
        )
    return "\n".join(lines) + "\n"


def _output_names(manifest: Manifest, platform: Platform) -> list[str]:
    """What Triton calls the outputs, in the manifest's order."""
    names = [output["name"] for output in manifest["outputs"]]
    return names if platform.graph_names else [f"OUTPUT__{i}" for i in range(len(names))]


def _batching(manifest: Manifest, platform: Platform) -> tuple[int, list[int]]:
    """max_batch_size, and what stands before the shape of a sample in dims.

    max_batch_size 0 leaves the batch to dims: Triton's backends refuse a larger one, even 1, for
    a graph whose batch is fixed. Otherwise Triton sends every batch from 1 to it.
    """
    low, high = widest(manifest)["batch"]
    if low == high:
        return 0, [low]
    if low > 1:
        raise UsageError(
            f"the program answers batches {low} to {high} and Triton also sends smaller ones; "
            f"compile with --batch 1:{high} or --batch {high}"
        )
    return (high, []) if platform.batches else (0, [-1])


def _preferred(largest: int) -> list[int]:
    """The powers of two up to the largest batch, and that batch."""
    powers = (2**exponent for exponent in range(1, largest.bit_length()))
    return sorted({*powers, largest})


def _tensor(
    kind: str, name: str, dtype: str, dims: list[int], more: Sequence[str] = ()
) -> list[str]:
    return [
        f"{kind} [",
        "  {",
        f"    name: {quoted(name)}",
        f"    data_type: {_TYPES[dtype]}",
        f"    dims: {dims}",
        *(f"    {line}" for line in more),
        "  }",
        "]",
    ]


def _provenance(manifest: Manifest) -> list[tuple[str, str]]:
    """Parameters that Triton passes on: where it comes from, what it needs, what a client does."""
    model, needs = manifest["model"], manifest["requirements"]
    entries = [
        ("zoo_backend", manifest["backend"]),
        ("zoo_precision", manifest["precision"]),
        ("zoo_weights_sha256", model["weights_sha256"]),
        ("zoo_input_layout", manifest["inputs"][0]["layout"]),
    ]
    if needs["torch"] is not None:
        entries.append(("zoo_requires_torch", needs["torch"]))
    if needs["isa"]:
        entries.append(("zoo_requires_cpu_flags", " ".join(needs["isa"])))
    if model["preprocessing"] is not None:
        entries.append(("zoo_preprocessing", json.dumps(model["preprocessing"])))
    return entries


def quoted(text: str) -> str:
    """A string in protobuf's text format: printable ASCII, the other bytes of its UTF-8 in octal.

    Octal always has three digits, so a digit that follows is not taken for a part of it.
    """
    escapes = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n"}
    plain = (
        escapes.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}")
        for byte in text.encode()
    )
    return f'"{"".join(plain)}"'


def _labels(classes: list[str]) -> bytes:
    """One name on each line: a line break inside a name would shift all that follow."""
    lines = "".join(f"{' '.join(name.splitlines())}\n" for name in classes)
    return lines.encode()


def _client_json(manifest: Manifest) -> str:
    model = manifest["model"]
    document = {
        "input": manifest["inputs"][0],
        "outputs": manifest["outputs"],
        "preprocessing": model["preprocessing"],
        "classes": classes_of(manifest),
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _single_out(package: str, entry: str, target: Path) -> None:
    """Copy one program out of a .pt2 that holds several, under the name that Triton looks for."""
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            stem, inner, rest = name.partition("/data/aotinductor/")
            owner, _, leaf = rest.partition("/")
            if inner and owner != entry:
                continue
            name_there = f"{stem}{inner}{_ENTRY}/{leaf}" if inner else name
            copy.writestr(name_there, source.read(name))


def _notes(manifest: Manifest, platform: Platform, program: dict[str, Any]) -> tuple[str, ...]:
    notes = [] if platform.note is None else [platform.note]
    low, high = program["batch"]
    if low != high and not platform.batches:
        notes.append(f"keep to batches from {low} to {high}: neither Triton nor the file checks")
    needs = manifest["requirements"]
    if needs["torch"] is not None:
        notes.append(f"the server's PyTorch backend must have torch {needs['torch']}")
    names = [output["name"] for output in manifest["outputs"]]
    pairs = zip(_output_names(manifest, platform), names, strict=True)
    if len(names) > 1 and not platform.graph_names:
        notes.append(f"outputs: {', '.join(f'{called} is {name}' for called, name in pairs)}")
    if len(manifest["programs"]) > 1:
        notes.append(f"of {len(manifest['programs'])} programs this is the one with most batches")
    return tuple(notes)
