"""nn.Module -> artifact: prepare, build, prove, publish. And the way back: load an artifact.

spec = CompileSpec(shape=(3, 224, 224), precision="bf16")
result = compile_module(net, spec, backend="inductor", root="artifacts", name="mynet")
logits = load(result.path)(images)
"""

from __future__ import annotations

import json
import platform
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compile import machine
from compile.artifact.manifest import GOLDEN, SCHEMA, Manifest, write_manifest
from compile.artifact.publishing import file_entries, find_artifacts, graph_entry, publish, staging
from compile.artifact.reading import open_artifact
from compile.backends import BACKENDS, choose
from compile.backends.base import Backend, Built
from compile.errors import CheckFailed, Unavailable, UsageError, ZooError, first_line
from compile.loading import load
from compile.network.quantize import scheme_here
from compile.precision import held_as, precision
from compile.proof.prove import prove
from compile.proof.subject import Calibration, Subject, Task
from compile.runner import has_engine
from compile.spec import CompileSpec

__all__ = [
    "BACKENDS",
    "Model",
    "Result",
    "Subject",
    "compile_module",
    "find_artifacts",
    "load",
]

Progress = Callable[[str], None]

_ONE_AT_A_TIME = threading.Lock()
"""torch.export and torch.compile keep their state in globals, so the threads of a process build
one after the other. Processes build side by side."""

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


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `compile_module` did."""

    path: Path
    built: bool
    """False when the same artifact stood there already."""
    seconds: float
    manifest: Manifest


def compile_module(
    module: nn.Module | Subject,
    spec: CompileSpec,
    *,
    backend: str,
    root: str | Path = "artifacts",
    name: str | None = None,
    model: Model | None = None,
    samples: torch.Tensor | None = None,
    calibration: torch.Tensor | None = None,
    force: bool = False,
    runner: Path | None = None,
    command: str | None = None,
    progress: Progress = lambda stage: None,
) -> Result:
    """Compile `module` for `spec` into `<root>/<name>-<sha8>/<backend>-...` and prove it.

    Args:
        module: maps float32 (N, C, H, W) to (N, classes); its weights are finite. Or a Subject
            made of one, which several calls share; it brings its own samples.
        samples: real inputs (N >= 8, C, H, W) float32 for the golden samples, or None.
        calibration: images (N >= 32, C, H, W) float32 for int8 and fp8, or None.
        force: build even if the same request was built before.
        runner: a zoo-run that must agree as well, or None.
        command: the command that rebuilds the artifact, for the manifest.
        progress: called with the name of each stage.

    Raises:
        UsageError: unknown backend, or a precision or device that it lacks.
        BadArtifact: the module's weights or its input shape cannot be used.
        CheckFailed: the build broke or parity failed; nothing was published.
        Unavailable: this machine cannot build it, or the place cannot be written.
    """
    start = time.perf_counter()
    maker = choose(backend, spec.precision, spec.device)
    requested = spec.target if maker.MACHINE_CODE else "native"
    target = "any"
    if maker.MACHINE_CODE:
        target = machine.resolve_target(spec.target, spec.precision)
    spec = replace(spec, target=target, named_level=requested != "native")
    subject = module
    if not isinstance(subject, Subject):
        subject = _subject(subject, spec, model, samples, calibration)
    own_name = name or type(subject.module).__name__.lower()
    model = model or Model(name=own_name, shape=spec.shape)
    if not _NAME.fullmatch(model.name):
        raise UsageError(f"'{model.name}' names no folder; use letters, digits, '.', '_' and '-'")
    final = artifact_folder(Path(root), model, subject.sha256, backend, spec, requested)
    request = _request(model, subject, maker, spec)
    standing = None if force else _standing(final, request, runner)
    if standing is not None:
        return Result(path=final, built=False, seconds=0.0, manifest=standing)
    with _ONE_AT_A_TIME, staging(final) as folder:
        progress("prepare")
        task = subject.task(spec, maker)
        golden = {"input": task.golden.input, "oracle": task.golden.oracle}
        torch.save(golden, folder / GOLDEN)
        progress("build")
        made = _build(maker, task.module, spec, folder)
        _check_precision(made, spec)
        progress("parity")
        manifest = _describe(model, subject, spec, backend, made, task)
        manifest["files"] = file_entries(folder)
        manifest["graph"] = graph_entry(folder)
        words = command or f"compile_module({type(subject.module).__name__}(), {spec})"
        manifest["build"] = _build_entry(words, request, made, start)
        prove(folder, manifest, maker, made, task, runner)
        manifest["build"] = _build_entry(words, request, made, start)
        write_manifest(folder, manifest)
        progress("publish")
        publish(folder, final)
    seconds = time.perf_counter() - start
    return Result(path=final, built=True, seconds=seconds, manifest=manifest)


def _subject(
    module: nn.Module,
    spec: CompileSpec,
    model: Model | None,
    samples: torch.Tensor | None,
    calibration: torch.Tensor | None,
) -> Subject:
    pixels = (model.preprocessing if model else None) or {}
    return Subject(
        module,
        spec.shape,
        samples=samples,
        calibration=(
            Calibration(images=calibration, source="given") if calibration is not None else None
        ),
        mean=pixels.get("mean"),
        std=pixels.get("std"),
    )


def _check_precision(made: Built, spec: CompileSpec) -> None:
    """The file holds what was asked for; TF32 multiplies the float32 that it holds."""
    if made.precision not in (held_as(spec.precision), spec.precision):
        raise CheckFailed(f"asked for {spec.precision}, the file holds {made.precision}")


def artifact_folder(
    root: Path, model: Model, sha256: str, backend: str, spec: CompileSpec, requested: str
) -> Path:
    """Where the artifact for a request stands."""
    target = "" if requested == "native" else f"-{requested}"
    size = f"-{'x'.join(map(str, spec.shape))}" if model.shape != spec.shape else ""
    bytes_ = "-u8" if spec.input_type == "uint8" else ""
    leaf = f"{backend}-{spec.precision}-b{spec.batch_text}-{spec.device}{target}{bytes_}{size}"
    portable = "-portable" if spec.portable else ""
    return root / f"{model.name}-{sha256[:8]}" / f"{leaf}{portable}"


def _request(model: Model, subject: Subject, maker: Backend, spec: CompileSpec) -> dict[str, Any]:
    """Everything that decides what the artifact will be, as JSON has it."""
    quantised = precision(spec.precision).quantised
    packages = ("resnet-zoo", *maker.PACKAGES, *(["torchao"] if quantised else []))
    wanted = {
        **asdict(spec),
        "backend": maker.NAME,
        "weights_sha256": subject.sha256,
        "structure_sha256": subject.structure_sha256,
        "samples": subject.samples_sha256,
        "calibration": subject.calibration_sha256 if quantised else None,
        "scheme": scheme_here(maker.QUANTIZER) if quantised else None,
        "classes": model.classes,
        "preprocessing": model.preprocessing,
        "versions": machine.versions(*packages),
    }
    found: dict[str, Any] = json.loads(json.dumps(wanted))
    return found


def _standing(final: Path, request: dict[str, Any], runner: Path | None) -> Manifest | None:
    """The manifest of a sound artifact built for this very request, or None.

    One that was proved without zoo-run is built again when there is one now.
    """
    try:
        manifest = open_artifact(final).manifest
    except ZooError:
        return None
    proved = not has_engine(runner, manifest["backend"])
    proved = proved or "zoo-run" in manifest["parity"]["ran_in"]
    return manifest if proved and manifest["build"]["request"] == request else None


def _build(maker: Backend, module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Build, with whatever a compiler throws turned into one line."""
    try:
        return maker.build(module, spec, folder)
    except (ZooError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise Unavailable(f"{maker.NAME}: {error}") from error
    except MemoryError as error:
        raise Unavailable(f"{maker.NAME}: out of memory; use a smaller --input") from error
    except Exception as error:
        raise CheckFailed(f"{maker.NAME} could not build it: {first_line(error)}") from error


def _baked_in(subject: Subject, spec: CompileSpec) -> dict[str, Any] | None:
    """The normalisation inside a program that takes bytes, where the model names none."""
    if spec.input_type != "uint8":
        return None
    channels, height, width = spec.shape
    sizes = {"channels": channels, "height": height, "width": width}
    return {**sizes, "mean": subject.mean, "std": subject.std}


def _build_entry(
    command: str, request: dict[str, Any], made: Built, start: float
) -> dict[str, Any]:
    return {
        "command": command,
        "seconds": round(time.perf_counter() - start, 1),
        "commit": machine.commit() or "unknown",
        "host": platform.node(),
        "date": machine.now(),
        "versions": {**machine.versions(), **made.versions},
        "request": request,
    }


def _flags(spec: CompileSpec, made: Built, task: Task) -> list[str]:
    """The CPU flags that the program needs."""
    if made.native:
        return sorted(machine.cpu_flags())
    if spec.target in machine.LEVELS:
        return machine.required_flags(spec.target, named=spec.named_level)
    scheme = task.quantization["scheme"] if task.quantization else None
    if scheme == "x86" and (flag := machine.vnni()) is not None:
        return [flag]  # no machine code, but weights whose products overflow elsewhere
    return []


def _describe(
    model: Model, subject: Subject, spec: CompileSpec, backend: str, made: Built, task: Task
) -> Manifest:
    """The manifest without files, proof and build."""
    flags = _flags(spec, made, task)
    needs: dict[str, Any] = {"gpu_arch": None, "cuda": None, "tensorrt": None, "load_first": []}
    return {
        "schema": SCHEMA,
        "model": {
            "name": model.name,
            "parameters": subject.num_parameters,
            "macs": model.macs,
            "weights_sha256": subject.sha256,
            "source": model.source,
            "classes": list(model.classes) if model.classes else None,
            "preprocessing": model.preprocessing or _baked_in(subject, spec),
        },
        "backend": backend,
        "precision": spec.precision,
        "device": spec.device,
        "target": {"name": spec.target, "cpuid": flags},
        "inputs": [
            {
                "name": "input",
                "dtype": spec.input_type,
                "layout": "NHWC" if spec.input_type == "uint8" else "NCHW",
                "shape": list(spec.input_shape),
            }
        ],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [subject.num_classes]}],
        "programs": [
            {"file": p.file, "batch": list(p.batch), "entry": p.entry} for p in made.programs
        ],
        "requirements": {
            "torch": machine.package_version("torch") if made.runs_on_torch else None,
            "isa": flags,
            **needs,
            **made.requirements,
        },
        "quantization": task.quantization,
        "files": {},
        "parity": {},
        "determinism": None,
        "nonfinite": None,
        "evidence": None,
        "build": {},
    }
