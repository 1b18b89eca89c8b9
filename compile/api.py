"""Compile an nn.Module into an artifact: prepare, build, prove, publish. And load artifacts.

spec = CompileSpec(shape=(3, 224, 224), precision="bf16")
result = compile_module(net, spec, backend="inductor", root="artifacts", name="mynet")
logits = load(result.path)(images)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from compile import machine
from compile.artifact.manifest import Manifest, write_manifest
from compile.artifact.publishing import find_artifacts, publish, staging
from compile.artifact.reading import check_requirements, verify_artifact
from compile.backends import BACKENDS, check_gpus, check_portable, choose
from compile.backends.base import Backend, Built
from compile.errors import CheckFailed, UsageError, ZooError, one_line
from compile.loading import load
from compile.network.batches import reason_of_batches, why_not
from compile.network.checking import quiet_torch
from compile.network.layers import layer_at_fault
from compile.precision import check_held
from compile.proof.accepting import is_accepted, largest_error, next_step
from compile.proof.describing import INPUT, Model, Request, artifact_folder, describe
from compile.proof.golden import write_golden
from compile.proof.images import Calibration
from compile.proof.pending import postpone, runs_here
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
    """False if the same artifact was there already, and nothing was built."""
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
    outputs: Mapping[str, str] | None = None,
    force: bool = False,
    accept_error: bool | float = False,
    runner: Path | None = None,
    command: str | None = None,
    progress: Progress = lambda stage: None,
) -> Result:
    """Compile `module` for `spec` into an artifact below `root`, and prove it.

    If it is for a CPU or a GPU that this machine has not, it is published with the status
    `pending`, and its program is not run.

    Args:
        module: takes float32 (N, C, H, W) and returns a float32 tensor (N, ...), or a tuple or
            dict of them; its weights are finite. Or a PreparedModel, which several calls can share.
            It has its own images and outputs.
        spec: input shape, batches, precision, device and CPU target.
        backend: a name in BACKENDS.
        root: folder of all artifacts; created if it is missing.
        name: the network's name, by default its class in lower case. Not together with `model`.
        model: what the manifest says about the network.
        samples: real inputs (N >= 8, C, H, W) float32 for the golden samples. If None, smooth
            synthetic images take their place.
        calibration: images (N >= 32, C, H, W) float32 for int8 and fp8, or None.
        outputs: what is returned instead, by name, as PreparedModel has it.
        force: build even if the same request was built before.
        accept_error: publish even if the proof failed, with the status `accepted`: an error of up
            to so many bounds for a number, whatever failed for True. No bound is widened by it.
        runner: path of a zoo-run, or None. If it has an engine for this backend, its outputs must
            pass too.
        command: the command that rebuilds the artifact, for the manifest.
        progress: called with the name of each stage.

    Raises:
        UsageError: an unknown backend, precision or device, or arguments that exclude each other.
        BadArtifact: the module's weights or its input shape cannot be used.
        CheckFailed: the build broke or parity failed; nothing was published.
        Unavailable: this machine cannot build it, or the place cannot be written.
    """
    chosen = choose(backend, spec.precision, spec.device)
    check_gpus(backend, spec.precision, spec.gpus)
    if spec.portable:
        check_portable([backend])
    prepared = _prepare(module, spec, model, samples, calibration, outputs)
    request = _request(prepared, spec, chosen, _model(prepared, spec, name, model), command)
    final = request.folder(Path(root))
    with _ONE_AT_A_TIME:
        accepted = largest_error(accept_error)
        reused = None if force else _reusable(final, request, runner, accepted)
        if reused is not None:
            return Result(path=final, built=False, seconds=0.0, manifest=reused)
        return _make(request, final, runner, accepted, progress)


def _make(
    request: Request,
    final: Path,
    runner: Path | None,
    accepted: float,
    progress: Progress,
) -> Result:
    """Build, prove and publish one artifact, which may fail by up to `accepted` bounds."""
    start = time.perf_counter()
    cell = f"{request.backend.NAME} {request.spec.precision}"
    with staging(final) as folder:
        progress("prepare")
        with one_line(f"{cell}, while it was prepared"), quiet_torch():
            task = request.prepared.task(request.spec, request.backend)
        write_golden(folder, task.golden, task.bounds, given=INPUT)
        progress("build")
        spec = replace(request.spec, outputs=task.golden.layout.names)
        with reason_of_batches(task.module, spec):
            built = _build(request.backend, task.module, spec, folder)
        network = request.prepared.network
        check_held(built.precision, spec.precision, lambda: network.inner_types)
        progress("parity")
        draft = describe(request, folder, built, task, time.perf_counter() - start)
        write_manifest(folder, draft)  # proving opens the folder as any reader does
        with reason_of_batches(task.module, spec), one_line(f"{cell}, while it was proved"):
            if runs_here(draft):
                proof = prove(folder, request.backend, built, task, runner=runner)
            else:
                proof = postpone(folder, request.backend, built, task)
        excused = not proof.postponed and is_accepted(proof.parity, accepted)
        if proof.failures and not excused:
            failed = "; ".join(proof.failures)
            if proof.postponed:
                raise CheckFailed(f"parity failed: {failed}; no check on its machine could pass")
            advice = "; ".join([*built.doubts[:1], next_step(request.backend, final, proof.parity)])
            why = why_not(task.module, spec) if "gate 'batches'" in failed else None
            raise CheckFailed(why or f"parity failed: {failed}; {advice}")
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
    outputs: Mapping[str, str] | None,
) -> PreparedModel:
    """The model as given, or one prepared from the module and the images."""
    if isinstance(module, PreparedModel):
        if any(each is not None for each in (samples, calibration, outputs)):
            raise UsageError(
                "a PreparedModel brings its own samples, calibration and outputs: give them to "
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
        outputs=outputs,
        classes=len(model.classes) if model and model.classes else None,
    )


def _model(
    prepared: PreparedModel, spec: CompileSpec, name: str | None, model: Model | None
) -> Model:
    """The model as given, or one of the name alone."""
    if model is None:
        return Model(name=name or type(prepared.network.given).__name__.lower(), shape=spec.shape)
    if name is not None:
        raise UsageError(f"give name={name!r} or a model, whose name is {model.name!r}, not both")
    return model


def _request(
    prepared: PreparedModel, spec: CompileSpec, backend: Backend, model: Model, command: str | None
) -> Request:
    """The request with its CPU target resolved."""
    if backend.MACHINE_CODE:
        asked, level = spec.target, machine.resolve_target(spec.target, spec.precision)
    else:
        asked, level = "native", "any"  # the file runs on every CPU
    spec = replace(spec, target=level, named_level=asked != "native")
    return Request(
        model=model,
        prepared=prepared,
        spec=spec,
        target=asked,
        backend=backend,
        command=command or f"compile_module({type(prepared.network.given).__name__}(), {spec})",
    )


def _reusable(
    final: Path, request: Request, runner: Path | None, accepted: float
) -> Manifest | None:
    """The manifest of a sound artifact that was built for this very request, or None.

    An artifact that zoo-run has not proved is built again if zoo-run can run it now, and one that
    waits for its machine if this is it.
    """
    try:
        manifest = verify_artifact(final).manifest
        status = manifest["status"]
        if status != "pending":
            check_requirements(manifest, final)
    except ZooError:
        return None
    usable = status == "proved" or (
        status == "accepted" and accepted > 0 and is_accepted(manifest["parity"], accepted)
    )
    waits = status == "pending" and not runs_here(manifest)
    if not (usable or waits) or manifest["build"]["request"] != request.as_json():
        return None
    if waits:
        return manifest
    if has_engine(runner, manifest["backend"]) and "zoo-run" not in manifest["parity"]["ran_in"]:
        return None
    return manifest


def _build(backend: Backend, module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Build; whatever a compiler throws becomes one line, which names the layer if it shows."""
    try:
        with quiet_torch():
            return backend.build(module, spec, folder)
    except Exception as error:
        where = layer_at_fault(module, error) or "it"
        with one_line(
            f"{backend.NAME} could not build {where}",
            "replace what it calls, or take another --backend",
        ):
            raise
    raise AssertionError  # one_line always raises
