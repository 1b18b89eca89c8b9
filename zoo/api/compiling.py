"""A network becomes an artifact: `zoo.compile`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from compile.backends import DEFAULT
from compile.backends import backend as find_backend
from compile.machine import has_level
from compile.precision import precision as find_precision
from zoo.api.fastest import FASTEST, GOALS, Wish, build_fastest
from zoo.api.preparing import manifest_model, prepare
from zoo.errors import UsageError
from zoo.sources.outputs import Wanted, find_outputs, parse_outputs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compile.api import Result
    from compile.spec import CompileSpec
    from zoo.runs.checkpoint import Run
    from zoo.sources.source import Source


def compile(  # noqa: A001 the command's name; in this file the builtin is not used
    model: nn.Module | Run | str | Path,
    *,
    backend: str = DEFAULT,
    precision: str = "fp32",
    batch: int | tuple[int, int] = 1,
    shape: tuple[int, int, int] | None = None,
    output: str | Sequence[str] | Mapping[str, str] = (),
    input_type: str = "float32",
    target: str = "native",
    device: str | None = None,
    gpu: str | None = None,
    portable: bool = False,
    name: str | None = None,
    images: Tensor | None = None,
    calibrate: Tensor | str | Path | None = None,
    fresh: bool = False,
    seed: int = 0,
    runs: str | Path = "runs",
    root: str | Path = "artifacts",
    runner: str | Path | None = None,
    force: bool = False,
    accept_error: bool | float = False,
    goal: str = GOALS[0],
    max_accuracy_loss: float | None = None,
    keep_all: bool = False,
) -> Result:
    """Compile a network into an artifact below `root`, prove it, and return its path and manifest.

    Args:
        model: a module that maps float32 (N, C, H, W) to tensors (N, ...); a Run; or what
            `zoo compile` takes: the path of a run, the name of a network (its newest run, else
            seeded weights), `timm:NAME` or `package.module:callable`.
        backend: `inductor`, `torchscript`, `onnx`, `openvino`, `eager`, `torch-compile`,
            `tensorrt`, `tensorrt-plan` or `tensorrt-rtx`; or `fastest`: build with every backend
            that zoo-run can run, compare side by side, and keep one artifact, whose manifest says
            why.
        precision: `fp32`, `tf32`, `bf16`, `fp16`, `int8` or `fp8`; for `fastest` also several, such
            as `fp32,int8`.
        batch: how many images one call takes, or the smallest and the largest number.
        shape: channels, height and width of one image. A module needs it.
        output: which outputs, as on the command line: `features`, `c3,c4,c5`, `layer3` or
            `mid=layer3.0.conv2`; or names and the paths of the modules whose outputs they are.
            By default what the network returns.
        input_type: `float32`, or `uint8` for bytes (N, H, W, C), normalised inside the program.
        target: `native`, or a level such as `x86-64-v3` that the CPU code is to run on. For one
            that this CPU has not, the artifact is built and not run: its status is `pending`.
        device: `cpu` or `cuda`; by default what the backend builds for.
        gpu: GPUs to build for without having them, such as `sm_89,sm_120`: for `tensorrt-rtx`.
        portable: make a TensorRT engine for every GPU from Ampere on.
        name: what a module's artifact is called; by default its class, in small letters.
        images: real images (N >= 8, C, H, W) float32 to prove a module's artifact with.
        calibrate: images (N >= 32, C, H, W) float32 for int8 and fp8, or a folder of image
            files; by default the images that a run was trained on.
        fresh: take seeded weights, even if there is a run of that name.
        seed: decides the seeded weights.
        runs: where runs are looked for.
        runner: a zoo-run that must compute the same; by default the one on PATH, or the one built
            in this checkout, if there is one.
        force: build again, even if the same artifact exists.
        accept_error: publish the artifact even if its proof fails: with errors up to so many
            bounds, or of any size if True. Its manifest says so.
        goal: what the `fastest` is chosen for: `latency` of a call of the smallest batch, or
            `throughput` in calls of the largest.
        max_accuracy_loss: percentage points of test accuracy that the `fastest` may lose. With it,
            every precision is tried, unless some are named. Without it, any loss is allowed.
        keep_all: keep what this call built for `fastest` and did not choose.

    Returns:
        `path`, `built` (False if the same artifact existed already), `seconds` of building, and
        `manifest`.

    Raises:
        UsageError: an unknown name, or a precision or device that the backend lacks.
        BadArtifact: weights or an input shape that cannot be used.
        CheckFailed: the build broke or the proof failed; nothing was published. For `fastest`: no
            candidate could be built, or none can be taken.
        Unavailable: this machine cannot build it, cannot write there, or has no zoo-run to compare
            with for `fastest`.

    >>> compile("resnet18", backend="torchscript", batch=(1, 8)).path
    >>> compile(torch.nn.Sequential(...), shape=(3, 32, 32), name="mine").path
    >>> compile("resnet50", output="c3,c4,c5").path
    """
    from compile.api import compile_module
    from compile.runner import find_runner

    wanted = _wanted(output)
    wish = _wish(backend, goal, batch, seed, max_accuracy_loss, accept_error, keep_all=keep_all)
    _check_target(wish, target)
    source = _source(model, shape=shape, runs=Path(runs), fresh=fresh, seed=seed, name=name)
    quantised = max_accuracy_loss is not None or _quantises(precision)
    places = find_outputs(source, wanted)
    prepared = prepare(
        source, quantised=quantised, images=images, calibrate=calibrate, outputs=places
    )
    zoo_run = find_runner(None if runner is None else Path(runner))
    make = partial(compile_module, prepared, model=manifest_model(source), root=root, force=force)

    def build(name: str, each: str) -> Result:
        spec = _spec(source, name, each, batch, device, input_type, target, gpu, portable, wish)
        told = _command(source, spec, wanted, name, images, calibrate, accept_error)
        return make(spec, backend=name, accept_error=accept_error, runner=zoo_run, command=told)

    if wish is None:
        return build(backend, precision)
    return build_fastest(build, zoo_run, wish, source, precision, device or "cpu", Path(root))


def _quantises(precision: str) -> bool:
    """Whether one of the precisions, with commas between them, needs images to calibrate with."""
    return True in {find_precision(each).quantised for each in precision.split(",")}


def _wish(
    backend: str,
    goal: str,
    batch: int | tuple[int, int],
    seed: int,
    max_accuracy_loss: float | None,
    accept_error: bool | float,
    *,
    keep_all: bool,
) -> Wish | None:
    """What the fastest is to be; None for another backend, which takes none of these options."""
    ends = (batch, batch) if isinstance(batch, int) else batch
    wish = Wish(
        goal=goal, batch=ends, seed=seed, max_accuracy_loss=max_accuracy_loss, keep_all=keep_all
    )
    if backend == FASTEST and accept_error is not False:
        raise UsageError(
            f"backend={FASTEST!r} chooses among artifacts that are proved: leave out accept_error"
        )
    if backend != FASTEST and wish != Wish(batch=ends, seed=seed):
        raise UsageError(
            f"goal, max_accuracy_loss and keep_all are for backend={FASTEST!r}; leave them out"
        )
    return wish if backend == FASTEST else None


def _check_target(wish: Wish | None, target: str) -> None:
    """UsageError for a choice among programs that cannot run here."""
    if wish is not None and not has_level(target):
        raise UsageError(f"backend={FASTEST!r} compares on this machine, which has no {target}")


def _source(
    model: nn.Module | Run | str | Path,
    *,
    shape: tuple[int, int, int] | None,
    runs: Path,
    fresh: bool,
    seed: int,
    name: str | None,
) -> Source:
    """The network that `model` means, with its shape and its data."""
    from torch import nn

    from zoo.runs.checkpoint import Run
    from zoo.sources.source import Source, resolve

    if not isinstance(model, nn.Module):
        if name is not None:
            raise UsageError(f"name={name!r} is for a module of yours; {model} has its own name")
        wanted = str(model.folder if isinstance(model, Run) else model)
        return resolve(wanted, runs=runs, fresh=fresh, seed=seed, shape=shape)
    kind = type(model).__name__
    if shape is None:
        raise UsageError(f"a {kind} has no input shape of its own; give shape=(C, H, W)")
    return Source(
        name=name or kind.lower(),
        network=model,
        shape=shape,
        native=shape,
        origin="module",
        words=(f"{kind}()",),
    )


def _spec(
    source: Source,
    backend: str,
    precision: str,
    batch: int | tuple[int, int],
    device: str | None,
    input_type: str,
    target: str,
    gpu: str | None,
    portable: bool,
    wish: Wish | None,
) -> CompileSpec:
    """The request; of candidates for the fastest, only those that can be are portable."""
    from compile.spec import CompileSpec, parse_gpus

    known = find_backend(backend).PRECISIONS
    return CompileSpec(
        shape=source.shape,
        batch=(batch, batch) if isinstance(batch, int) else batch,
        precision=precision,
        device=device or ("cpu" if "cpu" in known else "cuda"),
        target=target,
        input_type=input_type,
        portable=portable and (wish is None or find_backend(backend).PORTABLE),
        gpus=parse_gpus(gpu) if gpu else (),
    )


def _wanted(output: str | Sequence[str] | Mapping[str, str]) -> Wanted:
    if isinstance(output, Mapping):
        output = [f"{name}={place}" for name, place in output.items()]
    return parse_outputs([output] if isinstance(output, str) else output)


def _command(
    source: Source,
    spec: CompileSpec,
    wanted: Wanted,
    backend: str,
    images: Tensor | None,
    calibrate: Tensor | str | Path | None,
    accept_error: bool | float,
) -> str:
    """The command line that builds the same, or the call if a module or tensors were given."""
    if not find_precision(spec.precision).quantised:
        calibrate = None  # it has no effect
    tensors = images is not None or not isinstance(calibrate, str | Path | None)
    if source.origin == "module" or tensors:
        return f"zoo.compile({' '.join(source.words)!r}, backend={backend!r}, ...)  # {spec}"
    options = {
        "--backend": backend,
        "--precision": spec.precision,
        "--batch": ":".join(map(str, spec.batch)) if spec.dynamic else str(spec.batch[0]),
        "--input": f"1x{'x'.join(map(str, spec.shape))}",
        "--input-type": spec.input_type,
        "--target": spec.target if find_backend(backend).MACHINE_CODE else "native",
        "--device": spec.device,
    }
    if spec.gpus:
        options["--gpu"] = ",".join(spec.gpus)
    if wanted:
        named = (f"{name}={place}" if place else name for name, place in wanted.items())
        options["--output"] = ",".join(named)
    if calibrate is not None:
        options["--calibrate"] = str(calibrate)
    if accept_error:
        options["--accept-error"] = "any" if accept_error is True else f"{accept_error:g}x"
    flags = ["--portable"] * spec.portable
    pairs = [word for pair in options.items() for word in pair]
    return shlex.join(["zoo", "compile", *source.words, *pairs, *flags])
