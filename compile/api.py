"""nn.Module -> artifact: prepare, build, prove, publish. And the way back: load an artifact.

spec = CompileSpec(shape=(3, 224, 224), precision="bf16")
result = compile_module(net, spec, backend="inductor", root="artifacts", name="mynet")
logits = load(result.path)(images)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from compile import machine
from compile.artifact.manifest import Manifest, write_manifest
from compile.artifact.publishing import find_artifacts, publish, staging
from compile.artifact.reading import open_artifact
from compile.backends import BACKENDS, check_portable, choose
from compile.backends.base import Backend, Built
from compile.errors import CheckFailed, Unavailable, UsageError, ZooError, first_line
from compile.loading import load
from compile.precision import held_as
from compile.proof.describing import INPUT, OUTPUT, Model, Request, artifact_folder, describe
from compile.proof.golden import write_golden
from compile.proof.images import Calibration
from compile.proof.prepared import PreparedModel
from compile.proof.prove import prove
from compile.runner import has_engine
from compile.spec import CompileSpec

__all__ = [
    "BACKENDS",
    "Model",
    "PreparedModel",
    "Result",
    "artifact_folder",
    "compile_module",
    "find_artifacts",
    "load",
]

Progress = Callable[[str], None]

_ONE_AT_A_TIME = threading.Lock()
"""torch.export and torch.compile keep their state in globals, so the threads of a process build
one after the other. Processes build side by side."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `compile_module` did."""

    path: Path
    built: bool
    """False when the same artifact stood there already."""
    seconds: float
    manifest: Manifest


def compile_module(
    module: nn.Module | PreparedModel,
    spec: CompileSpec,
    *,
    backend: str,
    root: str | Path = "artifacts",
    name: str | None = None,
    model: Model | None = None,
    samples: torch.Tensor | None = None,
    calibration: torch.Tensor | None = None,
    force: bool = False,
    accept_error: bool = False,
    runner: Path | None = None,
    command: str | None = None,
    progress: Progress = lambda stage: None,
) -> Result:
    """Compile `module` for `spec` into `<root>/<name>-<sha8>/<backend>-...` and prove it.

    Args:
        module: maps float32 (N, C, H, W) to (N, classes); its weights are finite. Or a
            PreparedModel of one, which several calls share; it brings its own images.
        spec: input shape, batches, precision, device and CPU target.
        backend: a name in BACKENDS.
        root: folder of all artifacts; made where it is missing.
        name: of the network, by default its class's. Only without `model`, which has one.
        model: what the manifest says of the network.
        samples: real inputs (N >= 8, C, H, W) float32 for the golden samples, or None.
        calibration: images (N >= 32, C, H, W) float32 for int8 and fp8, or None.
        force: build even if the same request was built before.
        accept_error: publish even if parity or a gate failed, with the status `accepted`.
        runner: a zoo-run that must agree as well, or None.
        command: the command that rebuilds the artifact, for the manifest.
        progress: called with the name of each stage.

    Raises:
        UsageError: an unknown backend, precision or device, or an argument without effect.
        BadArtifact: the module's weights or its input shape cannot be used.
        CheckFailed: the build broke or parity failed; nothing was published.
        Unavailable: this machine cannot build it, or the place cannot be written.
    """
    start = time.perf_counter()
    chosen = choose(backend, spec.precision, spec.device)
    if spec.portable:
        check_portable([backend])
    prepared = _prepare(module, spec, model, samples, calibration)
    request = _request(prepared, spec, chosen, _model(prepared, spec, name, model), command)
    final = request.folder(Path(root))
    reused = None if force else _reusable(final, request, runner, accept_error)
    if reused is not None:
        return Result(path=final, built=False, seconds=0.0, manifest=reused)
    with _ONE_AT_A_TIME:
        return _make(request, final, runner, accept_error, progress, start)


def _make(
    request: Request,
    final: Path,
    runner: Path | None,
    accept_error: bool,
    progress: Progress,
    start: float,
) -> Result:
    """Build, prove and publish one artifact."""
    with staging(final) as folder:
        progress("prepare")
        task = request.prepared.task(request.spec, request.backend)
        write_golden(folder, task.golden, given=INPUT, returned=OUTPUT)
        progress("build")
        built = _build(request.backend, task.module, request.spec, folder)
        _check_precision(built, request.spec)
        progress("parity")
        draft = describe(request, folder, built, task, time.perf_counter() - start)
        write_manifest(folder, draft)
        proof = prove(
            folder, request.backend, built, task, runner=runner, accept_error=accept_error
        )
        build = {**draft["build"], "seconds": round(time.perf_counter() - start, 1)}
        manifest = {**draft, **proof.entries, "build": build}
        write_manifest(folder, manifest)
        progress("publish")
        publish(folder, final)
    seconds = time.perf_counter() - start
    return Result(path=final, built=True, seconds=seconds, manifest=manifest)


def _prepare(
    module: nn.Module | PreparedModel,
    spec: CompileSpec,
    model: Model | None,
    samples: torch.Tensor | None,
    calibration: torch.Tensor | None,
) -> PreparedModel:
    """The model as given, or one prepared from the module and the images."""
    if isinstance(module, PreparedModel):
        if samples is not None or calibration is not None:
            raise UsageError(
                "a PreparedModel brings its own samples and calibration: give them to "
                "PreparedModel(...)"
            )
        return module
    pixels = (model.preprocessing if model else None) or {}
    return PreparedModel(
        module,
        spec.shape,
        samples=samples,
        calibration=(
            Calibration(images=calibration, source="given") if calibration is not None else None
        ),
        mean=pixels.get("mean"),
        std=pixels.get("std"),
    )


def _model(
    prepared: PreparedModel, spec: CompileSpec, name: str | None, model: Model | None
) -> Model:
    """The model as given, or one of the name alone."""
    if model is None:
        return Model(name=name or type(prepared.network.module).__name__.lower(), shape=spec.shape)
    if name is not None:
        raise UsageError(f"give name={name!r} or a model, whose name is {model.name!r}, not both")
    return model


def _request(
    prepared: PreparedModel, spec: CompileSpec, backend: Backend, model: Model, command: str | None
) -> Request:
    """The request with its CPU target resolved."""
    native_code = backend.MACHINE_CODE
    asked = spec.target if native_code else "native"
    target = machine.resolve_target(spec.target, spec.precision) if native_code else "any"
    spec = replace(spec, target=target, named_level=asked != "native")
    return Request(
        model=model,
        prepared=prepared,
        spec=spec,
        target=asked,
        backend=backend,
        command=command or f"compile_module({type(prepared.network.module).__name__}(), {spec})",
    )


def _check_precision(built: Built, spec: CompileSpec) -> None:
    """The file holds what was asked for; TF32 multiplies the float32 that it holds."""
    if built.precision not in (held_as(spec.precision), spec.precision):
        raise CheckFailed(f"asked for {spec.precision}, the file holds {built.precision}")


def _reusable(
    final: Path, request: Request, runner: Path | None, accept_error: bool
) -> Manifest | None:
    """The manifest of a sound artifact built for this very request, or None.

    One that was proved without zoo-run is built again when there is one now.
    """
    try:
        manifest = open_artifact(final).manifest
    except ZooError:
        return None
    usable = ("proved", "accepted") if accept_error else ("proved",)
    proved = not has_engine(runner, manifest["backend"])
    proved = proved or "zoo-run" in manifest["parity"]["ran_in"]
    same = manifest["build"]["request"] == request.as_json()
    return manifest if proved and same and manifest["status"] in usable else None


def _build(backend: Backend, module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Build, with whatever a compiler throws turned into one line."""
    try:
        return backend.build(module, spec, folder)
    except (ZooError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise Unavailable(f"{backend.NAME}: {error}") from error
    except MemoryError as error:
        raise Unavailable(f"{backend.NAME}: out of memory; use a smaller --input") from error
    except Exception as error:
        raise CheckFailed(f"{backend.NAME} could not build it: {first_line(error)}") from error
