"""What the manifest of a new artifact says besides its proof: what it is and what it needs."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compile import machine
from compile.artifact.manifest import SCHEMA, Manifest
from compile.artifact.publishing import file_entries, graph_entry
from compile.backends.base import Backend, Built
from compile.errors import UsageError
from compile.network.pixels import Normalisation
from compile.network.quantize import scheme_here
from compile.precision import precision
from compile.proof.prepared import PreparedModel
from compile.proof.prove import to_measure
from compile.proof.task import Task
from compile.spec import CompileSpec

INPUT = "input"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a manifest says of the network besides its weights."""

    name: str
    """Becomes the first part of the folder's name."""
    source: str = "module"
    """The run or checkpoint the weights came from."""
    classes: Sequence[str] | None = None
    """Class names, in the order of the output."""
    preprocessing: dict[str, Any] | None = None
    """As docs/artifact.md has it."""
    macs: int | None = None
    """Multiply-accumulates for one sample."""
    shape: tuple[int, int, int] | None = None
    """Its own input (C, H, W). Another one, or where this is not known any one, is named in the
    artifact's folder."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"'{self.name}' names no folder; use letters, digits, '.', '_' and '-'"
            )


@dataclass(frozen=True, kw_only=True)
class Request:
    """One artifact that was asked for."""

    model: Model
    prepared: PreparedModel
    spec: CompileSpec
    """With a named CPU level as its target."""
    target: str
    """The CPU target as it was asked for: `native`, or a level by name."""
    backend: Backend
    command: str
    """What builds it again."""

    def folder(self, root: Path) -> Path:
        """Where the artifact stands."""
        sha256 = self.prepared.network.weights_sha256
        names = tuple(self.prepared.network.outputs or ())
        return artifact_folder(
            root, self.model, sha256, self.backend.NAME, self.spec, self.target, names
        )

    def as_json(self) -> dict[str, Any]:
        """Everything that decides what the artifact will be."""
        quantised = precision(self.spec.precision).quantised
        packages = ("resnet-zoo", *self.backend.PACKAGES, *(["torchao"] if quantised else []))
        wanted = {
            **asdict(self.spec),
            "backend": self.backend.NAME,
            "weights_sha256": self.prepared.network.weights_sha256,
            "structure_sha256": self.prepared.network.structure_sha256,
            "outputs": self.prepared.network.outputs and dict(self.prepared.network.outputs),
            "samples": self.prepared.samples.sha256,
            "calibration": self.prepared.quantised_tasks.calibration_sha256 if quantised else None,
            "scheme": scheme_here(self.backend.QUANTIZER) if quantised else None,
            "classes": self.model.classes,
            "preprocessing": self.model.preprocessing,
            "versions": machine.versions(*packages),
        }
        if not self.spec.gpus:  # so that artifacts of before there was such a field are found again
            del wanted["gpus"]
        return json.loads(json.dumps(wanted))


def artifact_folder(
    root: Path,
    model: Model,
    sha256: str,
    backend: str,
    spec: CompileSpec,
    requested: str,
    outputs: Sequence[str] = (),
) -> Path:
    """Where the artifact for a request stands; `outputs` are the names that were asked for."""
    target = "".join(f"-{gpu}" for gpu in spec.gpus)
    target += "" if requested == "native" else f"-{requested}"
    size = f"-{'x'.join(map(str, spec.shape))}" if model.shape != spec.shape else ""
    bytes_ = "-u8" if spec.input_type == "uint8" else ""
    leaf = f"{backend}-{spec.precision}-b{spec.batch_text}-{spec.device}{target}{bytes_}{size}"
    portable = "-portable" if spec.portable else ""
    named = f"-{'+'.join(outputs)}" if outputs else ""
    return root / f"{model.name}-{sha256[:8]}" / f"{leaf}{portable}{named}"


def describe(request: Request, folder: Path, built: Built, task: Task, seconds: float) -> Manifest:
    """The manifest of a staged folder before its proof: its status is `pending`.

    `seconds` is how long the build took so far.
    """
    spec = request.spec
    flags = required_flags(spec, built, task)
    needs: dict[str, Any] = {"gpu_arch": None, "cuda": None, "tensorrt": None, "load_first": []}
    torch = machine.package_version("torch") if built.runs_on_torch else None
    return {
        "schema": SCHEMA,
        "status": "pending",
        "model": _model_entry(request),
        "backend": request.backend.NAME,
        "precision": spec.precision,
        "device": spec.device,
        "target": {"name": spec.target, "cpuid": flags},
        **_tensor_entries(request),
        "programs": [
            {"file": program.file, "batch": list(program.batch), "entry": program.entry}
            for program in built.programs
        ],
        "requirements": {"torch": torch, "isa": flags, **needs, **built.requirements},
        "quantization": task.quantization,
        "files": file_entries(folder),
        "graph": graph_entry(folder),
        "parity": to_measure(spec.precision, task),
        "determinism": None,
        "nonfinite": None,
        "evidence": None,
        "build": _build_entry(request, built, seconds),
    }


def required_flags(spec: CompileSpec, built: Built, task: Task) -> list[str]:
    """The CPU flags that the program needs."""
    if built.native:
        return sorted(machine.cpu_flags())
    if spec.target in machine.LEVELS:
        return machine.required_flags(spec.target, named=spec.named_level)
    scheme = task.quantization["scheme"] if task.quantization else None
    if scheme == "x86" and (flag := machine.vnni()) is not None:
        return [flag]  # no machine code, but weights whose products overflow elsewhere
    return []


def _model_entry(request: Request) -> dict[str, Any]:
    model, network = request.model, request.prepared.network
    return {
        "name": model.name,
        "parameters": network.num_parameters,
        "macs": model.macs,
        "weights_sha256": network.weights_sha256,
        "source": model.source,
        "preprocessing": model.preprocessing
        or _baked_in(request.prepared.normalisation, request.spec),
    }


def _baked_in(normalisation: Normalisation, spec: CompileSpec) -> dict[str, Any] | None:
    """The normalisation inside a program that takes bytes, where the model names none."""
    if spec.input_type != "uint8":
        return None
    channels, height, width = spec.shape
    sizes = {"channels": channels, "height": height, "width": width}
    return {**sizes, "mean": list(normalisation.mean), "std": list(normalisation.std)}


def _tensor_entries(request: Request) -> dict[str, Any]:
    """The manifest's `inputs` and `outputs`."""
    spec, classes = request.spec, request.model.classes
    given = {
        "name": INPUT,
        "dtype": spec.input_type,
        "layout": "NHWC" if spec.input_type == "uint8" else "NCHW",
        "shape": list(spec.input_shape),
    }
    returned = [
        {
            "name": output.name,
            "dtype": "float32",
            "shape": list(output.shape),
            "classes": list(classes) if classes and output.scores else None,
        }
        for output in request.prepared.network.layout.outputs
    ]
    return {"inputs": [given], "outputs": returned}


def _build_entry(request: Request, built: Built, seconds: float) -> dict[str, Any]:
    return {
        "command": request.command,
        "seconds": round(seconds, 1),
        "commit": machine.commit() or "unknown",
        "host": platform.node(),
        "date": machine.now(),
        "versions": {**machine.versions(), **built.versions},
        "request": request.as_json(),
    }
