"""The artifact folder: open it verified, stage it, publish it whole. docs/artifact.md says how.

Nothing here loads a program. What `open_artifact` hands out are sealed copies in memory whose
hashes were compared, so nothing can change between the check and the load.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compile import machine
from compile.artifact.archive import check_archive
from compile.artifact.manifest import GOLDEN, Manifest, read_with_hash
from compile.artifact.programs import InputSpec, ProgramFile
from compile.artifact.sealed import SealedFile, seal
from compile.artifact.tensors import SUFFIX, Wanted, check_tensors, read_tensors
from compile.errors import BadArtifact, Unavailable

if TYPE_CHECKING:
    import torch

_ARCHIVES = (".pt2", ".ts")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A verified artifact: its manifest and sealed copies of its files."""

    path: Path
    manifest: Manifest
    manifest_sha256: str
    """Of the bytes that were read, in hex."""
    files: dict[str, SealedFile]
    """By their names in the manifest."""

    @property
    def programs(self) -> list[ProgramFile]:
        """The manifest's programs."""
        return [
            ProgramFile(
                file=entry["file"],
                batch=(entry["batch"][0], entry["batch"][1]),
                entry=entry.get("entry"),
                precision=self.manifest["precision"],
                outputs=tuple(output["name"] for output in self.manifest["outputs"]),
            )
            for entry in self.manifest["programs"]
        ]

    @property
    def input(self) -> InputSpec:
        """What every program takes."""
        return input_of(self.manifest)

    @property
    def name(self) -> str:
        """`<model>-<sha8>/<backend>-<precision>-b<batch>-<device>`."""
        return f"{self.path.parent.name}/{self.path.name}"


def input_of(manifest: Manifest) -> InputSpec:
    """What every program of a manifest takes."""
    entry = manifest["inputs"][0]
    first, second, third = entry["shape"]
    return InputSpec(dtype=entry["dtype"], shape=(first, second, third))


def open_artifact(path: Path) -> Artifact:
    """Open an artifact by the steps of docs/artifact.md, whatever its status.

    For those who prove it or look into it. Who only runs it calls `open_to_run`. Raises BadArtifact
    (damaged, or made for something else) or Unavailable (this machine lacks something that can be
    installed). Nothing has been loaded then.
    """
    artifact = verify_artifact(path)
    check_requirements(artifact.manifest, path)
    return artifact


def verify_artifact(path: Path) -> Artifact:
    """The first five steps: whether the artifact is sound, on whatever machine it is to run.

    Raises BadArtifact when it is damaged.
    """
    manifest, digest = read_with_hash(path)
    files = {}
    for name, entry in manifest["files"].items():
        files[name] = seal(path, name, entry["size"], entry["sha256"])
        _look_inside(files[name], name, golden_tensors(manifest) if name == GOLDEN else None)
    return Artifact(path=path, manifest=manifest, manifest_sha256=digest, files=files)


def _look_inside(sealed: SealedFile, name: str, wanted: dict[str, Wanted] | None) -> None:
    """Step 5: the rules of archives and of tensors' files."""
    with open(sealed.path, "rb") as stream:
        if name.endswith(_ARCHIVES):
            check_archive(stream, name)
        elif name.endswith(SUFFIX):
            check_tensors(stream, name, wanted)


def golden_tensors(manifest: Manifest) -> dict[str, Wanted]:
    """What golden.safetensors must hold: a row for each sample of each input and output.

    Of an output that has `positions` it holds those values of each row. Of one that has `channels`
    it holds PyTorch's own errors in each group of channels: at the border, and in the interior.
    """
    rows = len(manifest["parity"]["samples"])
    wanted = {
        f"inputs/{entry['name']}": Wanted(dtype=entry["dtype"], shape=(rows, *entry["shape"]))
        for entry in manifest["inputs"]
    }
    for output, proof in zip(manifest["outputs"], manifest["parity"]["outputs"], strict=True):
        name, shape, kept = output["name"], tuple(output["shape"]), proof["positions"]
        oracle = (rows, *shape) if kept is None else (rows, kept)
        wanted[f"oracle/{name}"] = Wanted(dtype="float64", shape=oracle)
        if kept is not None:
            positions = Wanted(dtype="int64", shape=(kept,), below=math.prod(shape))
            wanted[f"positions/{name}"] = positions
        if (channels := proof["channels"]) is not None:
            parts = (rows, channels["groups"], 2)
            wanted[f"e_eager/{name}"] = Wanted(dtype="float64", shape=parts, errors=True)
    return wanted


def golden_input(artifact: Artifact) -> torch.Tensor:
    """The input (N, ...) of the golden samples; BadArtifact if a value is not finite."""
    tensors = read_tensors(artifact.files[GOLDEN].path, str(artifact.path / GOLDEN))
    return tensors[f"inputs/{artifact.manifest['inputs'][0]['name']}"]


def open_graph(artifact: Artifact) -> SealedFile:
    """The exported graph that the program was compiled from, verified as the files are.

    It is not a file of the program: no reader that only runs it copies or hashes it. Raises
    BadArtifact if the artifact holds none.
    """
    entry = artifact.manifest.get("graph")
    if entry is None:
        raise BadArtifact(
            f"{artifact.path} holds no exported graph; build it again with "
            f"`{artifact.manifest['build']['command']} --force`"
        )
    sealed = seal(artifact.path, entry["file"], entry["size"], entry["sha256"])
    with open(sealed.path, "rb") as stream:
        check_archive(stream, entry["file"])
    return sealed


def check_requirements(manifest: Manifest, path: Path) -> None:
    """Step 7: raise unless this machine is one the artifact was built for."""
    needs = manifest["requirements"]
    have = machine.package_version("torch")
    if needs["torch"] is not None and needs["torch"] != have:
        raise BadArtifact(
            f"{path} was built for torch {needs['torch']}, and this is torch {have}; "
            f"build it again with `zoo recompile {path}`"
        )
    lacking = sorted(set(needs["isa"]) - machine.cpu_flags())
    if lacking:
        raise BadArtifact(
            f"this CPU lacks {', '.join(lacking)}, which {path} (target "
            f"{manifest['target']['name']}) needs; compile it here, or for a lower --target"
        )
    if manifest["device"] == "cuda":
        _check_gpu(needs["gpu_arch"], path)


def _check_gpu(built_for: str | None, path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        raise Unavailable(f"{path} needs an NVIDIA GPU with its driver; this machine has none")
    major, minor = torch.cuda.get_device_capability()
    here = f"sm_{major}{minor}"
    if built_for is None or here in built_for.split(","):
        return
    oldest = re.fullmatch(r"sm_([0-9]{2,3})\+", built_for)
    if oldest is None or 10 * major + minor < int(oldest[1]):
        raise BadArtifact(
            f"{path} was built for {built_for}, and this GPU is {here}; build it again with "
            f"`zoo recompile {path}`"
        )
