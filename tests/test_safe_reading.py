"""What lies beside a program is read with as much care: exported graphs and golden samples."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from compile.artifact.manifest import GOLDEN
from compile.artifact.publishing import file_entries, graph_entry
from compile.backends import eager
from compile.errors import BadArtifact
from compile.proof.check import check_artifact
from tests.support.forgery import rewrite

Copy = Callable[[str], Path]


class Payload:
    """Leaves a folder where it is unpickled."""

    def __init__(self, where: Path) -> None:
        self.where = str(where)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.where,)


def as_zip(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def weights_as_pickle(text: bytes) -> bytes:
    """The list of weights, each said to be a pickle."""
    listed = json.loads(text)
    for entry in listed["config"].values():
        entry["use_pickle"] = True
    return json.dumps(listed).encode()


def rewrite_archive(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name, content in members.items():
            new.writestr(name, change(name, content))


@pytest.mark.parametrize("place", ["sample inputs", "sample inputs, bare", "weights"])
def test_an_exported_graph_runs_no_pickle(place: str, copy_of: Copy, tmp_path: Path) -> None:
    """torch.export.load reads any pickle where reading tensors alone has failed."""
    folder, trap = copy_of("eager"), tmp_path / "trap"

    def change(name: str, content: bytes) -> bytes:
        if place == "weights" and name.endswith("weights_config.json"):
            return weights_as_pickle(content)
        if place == "weights" and "/data/weights/weight_" in name:
            return as_zip(Payload(trap))
        if place == "sample inputs" and "/sample_inputs/" in name:
            return as_zip((Payload(trap),))
        if place == "sample inputs, bare" and "/sample_inputs/" in name:
            return pickle.dumps((Payload(trap),), protocol=2)  # as torch.save once did
        return content

    rewrite_archive(folder / eager.FILE, change)
    rewrite(
        folder, lambda m: m.update(files=file_entries(folder), graph=graph_entry(folder))
    )  # fitting hashes
    with pytest.raises(BadArtifact, match="pickled objects"):
        check_artifact(folder, None)
    assert not trap.exists()


FORGED: dict[str, tuple[Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], str]] = {
    "no oracle": (lambda t: {"inputs/input": t["inputs/input"]}, "must hold"),
    "one more": (lambda t: {**t, "inputs/other": t["inputs/input"].clone()}, "must hold"),
    "another name": (lambda t: {"input": t["inputs/input"], **t}, "must hold"),
    "another dtype": (lambda t: {**t, "oracle/logits": t["oracle/logits"].float()}, "F64"),
    "another class": (lambda t: {**t, "oracle/logits": t["oracle/logits"][:, 1:].clone()}, "F64"),
    "a row less": (
        lambda t: {**t, "inputs/input": t["inputs/input"][1:].clone()},
        "'inputs/input'",
    ),
    "NaN": (lambda t: {**t, "oracle/logits": t["oracle/logits"] * torch.nan}, "finite"),
}


@pytest.mark.parametrize("name", FORGED)
def test_golden_samples_are_held_to_the_contract(name: str, copy_of: Copy) -> None:
    folder = copy_of("eager")
    change, words = FORGED[name]
    forged = change(load_file(folder / GOLDEN))
    save_file({key: tensor.clone() for key, tensor in forged.items()}, folder / GOLDEN)
    rewrite(folder, lambda m: m.update(files=file_entries(folder)))
    with pytest.raises(BadArtifact, match=words):
        check_artifact(folder, None)
