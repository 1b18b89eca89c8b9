"""nn.Module -> artifact: prepare, build, prove, publish. And the way back: load an artifact.

spec = CompileSpec(shape=(3, 224, 224), precision="bf16")
result = compile_module(net, spec, backend="inductor", root="artifacts", name="mynet")
logits = load(result.path)(images)
"""

from __future__ import annotations

import copy
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compile import machine, parity
from compile.artifact import file_entries, find_artifacts, open_artifact, publish, staging
from compile.backends import BACKENDS, choose
from compile.backends.base import Backend, Built
from compile.errors import CheckFailed, Unavailable, ZooError
from compile.loading import load
from compile.manifest import GOLDEN, SCHEMA, Manifest, write_manifest
from compile.prepare import cast, check_module, fold_batch_norms
from compile.proof import prove
from compile.runner import ENGINES
from compile.spec import CompileSpec
from compile.weights import weights_sha256

__all__ = [
    "BACKENDS",
    "Model",
    "Result",
    "compile_module",
    "find_artifacts",
    "load",
]

Progress = Callable[[str], None]


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
    """Its own input (C, H, W); another one is named in the artifact's folder."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `compile_module` did."""

    path: Path
    built: bool
    """False when the same artifact stood there already."""
    seconds: float
    manifest: Manifest


def compile_module(
    module: nn.Module,
    spec: CompileSpec,
    *,
    backend: str,
    root: str | Path = "artifacts",
    name: str | None = None,
    model: Model | None = None,
    samples: torch.Tensor | None = None,
    force: bool = False,
    runner: Path | None = None,
    command: str = "compile_module(...)",
    progress: Progress = lambda stage: None,
) -> Result:
    """Compile `module` for `spec` into `<root>/<name>-<sha8>/<backend>-...` and prove it.

    Args:
        module: maps float32 (N, C, H, W) to (N, classes); its weights are finite.
        samples: real inputs (N >= 8, C, H, W) float32 for the golden samples, or None.
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
    spec = replace(spec, target=target, portable=requested != "native")
    module = copy.deepcopy(module).eval()  # the caller's stays in the mode it is in
    model = model or Model(name=name or type(module).__name__.lower())
    sha = weights_sha256(module.state_dict())
    final = artifact_folder(Path(root), model, sha, backend, spec, requested)
    request = _request(model, sha, backend, spec)
    standing = None if force else _standing(final, request, runner)
    if standing is not None:
        return Result(path=final, built=False, seconds=0.0, manifest=standing)
    with staging(final) as folder:
        progress("prepare")
        output = check_module(module, spec.example())
        folded = fold_batch_norms(module, spec.example())
        progress("golden samples")
        golden = parity.make_golden(module, spec.shape, samples)
        torch.save({"input": golden.input, "oracle": golden.oracle}, folder / GOLDEN)
        progress("build")
        made = _build(maker, cast(folded, spec.precision), spec, folder)
        if made.precision != spec.precision:
            raise CheckFailed(f"asked for {spec.precision}, the file holds {made.precision}")
        progress("parity")
        manifest = _describe(model, module, sha, spec, backend, made, golden, output.shape[1])
        manifest["files"] = file_entries(folder)
        manifest["build"] = _build_entry(command, request, made, start)
        prove(folder, manifest, maker, made, module, folded, golden, runner)
        manifest["build"] = _build_entry(command, request, made, start)
        write_manifest(folder, manifest)
        progress("publish")
        publish(folder, final)
    seconds = time.perf_counter() - start
    return Result(path=final, built=True, seconds=seconds, manifest=manifest)


def artifact_folder(
    root: Path, model: Model, sha256: str, backend: str, spec: CompileSpec, requested: str
) -> Path:
    """Where the artifact for a request stands."""
    target = "" if requested == "native" else f"-{requested}"
    other = model.shape is not None and model.shape != spec.shape
    size = f"-{'x'.join(map(str, spec.shape))}" if other else ""
    leaf = f"{backend}-{spec.precision}-b{spec.batch_text}-{spec.device}{target}{size}"
    return root / f"{model.name}-{sha256[:8]}" / leaf


def _request(model: Model, sha256: str, backend: str, spec: CompileSpec) -> dict[str, Any]:
    """Everything that decides what the artifact will be, as JSON has it."""
    packages = ("resnet-zoo", "onnx", "onnxsim", "onnxscript", "torch-tensorrt")
    wanted = {
        **asdict(spec),
        "backend": backend,
        "weights_sha256": sha256,
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
    proved = runner is None or manifest["backend"] not in ENGINES
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
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckFailed(f"{maker.NAME} could not build it: {lines[0]}") from error


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


def _describe(
    model: Model,
    module: nn.Module,
    sha256: str,
    spec: CompileSpec,
    backend: str,
    made: Built,
    golden: parity.Golden,
    classes: int,
) -> Manifest:
    """The manifest without files, proof and build."""
    level = spec.target in machine.LEVELS
    flags = machine.required_flags(spec.target, portable=spec.portable) if level else []
    flags = sorted(machine.cpu_flags()) if made.native else flags
    needs: dict[str, Any] = {"gpu_arch": None, "cuda": None, "tensorrt": None, "load_first": []}
    return {
        "schema": SCHEMA,
        "model": {
            "name": model.name,
            "parameters": sum(p.numel() for p in module.parameters()),
            "macs": model.macs,
            "weights_sha256": sha256,
            "source": model.source,
            "classes": list(model.classes) if model.classes else None,
            "preprocessing": model.preprocessing,
        },
        "backend": backend,
        "precision": made.precision,
        "device": spec.device,
        "target": {"name": spec.target, "cpuid": flags},
        "inputs": [
            {"name": "input", "dtype": "float32", "layout": "NCHW", "shape": list(spec.shape)}
        ],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [classes]}],
        "programs": [
            {"file": p.file, "batch": list(p.batch), "entry": p.entry} for p in made.programs
        ],
        "requirements": {
            "torch": machine.package_version("torch") if made.runs_on_torch else None,
            "isa": flags,
            **needs,
            **made.requirements,
        },
        "files": {},
        "parity": {},
        "determinism": None,
        "nonfinite": None,
        "evidence": None,
        "build": {},
    }
