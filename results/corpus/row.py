"""Run rows: build the network, compile it, and read what the proof measured."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compile.api import PreparedModel, compile_module
from compile.artifact.manifest import Manifest
from compile.backends import backend
from compile.errors import Unavailable, ZooError, first_line
from compile.network.prepare import eager_dtype
from compile.network.quantize import scheme_here
from compile.precision import precision as find_precision
from compile.proof import parity, prove, yardstick
from compile.proof.gates import failures as gate_failures
from compile.proof.golden import Golden
from compile.proof.images import Calibration
from compile.proof.task import Task
from compile.spec import CompileSpec
from results.corpus import generated
from results.corpus.jobs import WAYS, Job, specification
from results.corpus.planted import planted
from results.corpus.timm_choice import chosen, import_timm
from results.corpus.truth import truth_of
from tests.networks import NETWORKS
from zoo.models import build, info
from zoo.models.calibration import calibrate_batch_norms, synthetic_images
from zoo.sources.foreign import find_foreign

SMALL = {224: 64, 32: 32}
"""Size that the zoo's networks were published for -> size in the corpus."""
IMAGES = 64
"""How many images calibrate a quantised network."""
REPEATS = 1.0
"""Seconds in which a program is called again and again; zoo itself takes five."""


def make(part: str, name: str, seed: int) -> tuple[nn.Module, CompileSpec]:
    """The network in evaluation mode, and its shape and batch."""
    if part == "a":
        row = NETWORKS[name]
        return row.build(seed), CompileSpec(shape=row.shape, batch=row.batch)
    if part == "b":
        import_timm()
        shape = chosen()[name]
        made = find_foreign(f"timm:{name}", seed=seed, fresh=True, shape=shape)
        return with_head(made.network, seed), CompileSpec(shape=shape)
    if part == "d":
        spec = specification(name, seed)
        return generated.build(spec), CompileSpec(shape=tuple(spec["image"]))
    size = SMALL[info(name).shape[1]]
    network = build(name, seed=seed)
    calibrate_batch_norms(network, (3, size, size), seed)
    return network.eval(), CompileSpec(shape=(3, size, size))


def with_head(network: nn.Module, seed: int) -> nn.Module:
    """The network of timm, with a random classifier if that is all zeros before training.

    It would answer 0 to every image, of which nothing can be proved.
    """
    classifier = network.get_classifier()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(seed)
    for layer in classifier.modules() if isinstance(classifier, nn.Module) else ():
        if isinstance(layer, nn.Linear) and not bool(layer.weight.any()):
            with torch.no_grad():
                layer.weight.normal_(std=0.02, generator=generator)
    return network


class Bench:
    """Runs rows one after the other. Those of one network share all that can be shared."""

    def __init__(self, *, threads: int) -> None:
        torch.set_num_threads(threads)
        prove.SECONDS = REPEATS
        self._named: tuple[str, str, int] | None = None
        self._shared: tuple[PreparedModel, CompileSpec] | None = None

    def run(self, job: Job) -> dict[str, Any]:
        """What one row found, as it stands in the file."""
        start = time.perf_counter()
        stages = ["make"]
        found = self._found(job, stages)
        if job.part == "d" and found["built"] in ("refused", "error"):
            found["spec"] = specification(job.network, job.seed)  # found.json may keep it
        seconds = round(time.perf_counter() - start, 1)
        return rounded({**asdict(job), **found, "stage": stages[-1], "seconds": seconds})

    def _found(self, job: Job, stages: list[str]) -> dict[str, Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                prepared, spec = self._prepared(job, stages)
                if job.backend == WAYS:
                    return _ways(prepared, spec, job)
                return _compiled(prepared, spec, job, stages.append)
        except ZooError as error:
            kind = "error" if isinstance(error, Unavailable) or stages[-1] == "make" else "refused"
            return {"built": kind, "failures": [str(error)], "raised": type(error).__name__}
        except Exception as error:  # zoo's command would say: unexpected, please report it
            kind = type(error).__name__
            text = f"unexpected {kind}: {first_line(error).removeprefix(f'{kind}: ')}"
            return {"built": "error", "failures": [text], "raised": kind}

    def _prepared(self, job: Job, stages: list[str]) -> tuple[PreparedModel, CompileSpec]:
        """The network of a row; that of the last row, if it is the same."""
        named = job.part, job.network, job.seed
        if self._shared is None or self._named != named:
            self._shared = None  # two large networks at a time are one too many
            network, spec = make(*named)
            stages.append("prepare")
            images = synthetic_images(IMAGES, spec.shape, torch.Generator().manual_seed(job.seed))
            calibration = Calibration(images=images, source="synthetic")
            prepared = PreparedModel(network, spec.shape, calibration=calibration)
            self._named, self._shared = named, (prepared, spec)
        stages.append("prepare")
        return self._shared


def rounded(value: Any) -> Any:
    """The same with six digits for each number: more would only fill the file."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _spec(spec: CompileSpec, job: Job) -> CompileSpec:
    return CompileSpec(shape=spec.shape, batch=spec.batch, precision=job.precision)


def _ways(prepared: PreparedModel, spec: CompileSpec, job: Job) -> dict[str, Any]:
    """The errors of PyTorch itself and of faults: of the module, or of its graph on a grid."""
    spec = _spec(spec, job)
    task = prepared.task(spec, backend("onnx"))  # any that has a grid: all have the same here
    network = module = prepared.network.module
    if find_precision(job.precision).quantised:
        scheme = scheme_here(backend("onnx").QUANTIZER)
        module = prepared.quantised_tasks._in_float32(job.precision, scheme)
    golden = task.golden
    ways = yardstick.way_errors(module, job.precision, golden)
    faults = {}
    if not find_precision(job.precision).quantised:
        for name, where, wrong in planted(network, job.seed):
            error = parity.errors(_eager(wrong, job.precision, golden), golden)[:, 0]
            faults[name] = {"at": where, "rmse": error.tolist()}
    return {
        "built": "measured",
        "kinds": list(golden.kinds),
        "size": golden.layout.rms(golden.oracle)[:, 0].tolist(),
        "bound": task.bounds.bound[:, 0].tolist(),
        "ways": {name: error[:, 0].tolist() for name, error in ways.items()},
        "faults": faults,
    }


@torch.no_grad()
def _eager(network: nn.Module, precision: str, golden: Golden) -> torch.Tensor:
    """What PyTorch computes of a network, one sample at a time: (N, classes)."""
    dtype = eager_dtype(precision)
    network = network.to(dtype)
    return torch.cat([network(each) for each in torch.split(golden.pixels.to(dtype), 1)])


def _compiled(
    prepared: PreparedModel, spec: CompileSpec, job: Job, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Compile, whatever the proof says, and read the manifest."""
    spec = _spec(spec, job)
    with tempfile.TemporaryDirectory(prefix="corpus-") as root:
        result = compile_module(
            prepared,
            spec,
            backend=job.backend,
            root=root,
            name="corpus",
            accept_error=True,
            progress=progress,
        )
        found = measured(result.manifest)
        if found["built"] == "refused":
            task = prepared.task(spec, backend(job.backend))
            found["truth"] = _truth(
                result.path, task, list(map(ratio, found["rmse"], found["bound"]))
            )
    return found


def _truth(folder: Path, task: Task, ratios: list[float]) -> str:
    try:
        return truth_of(folder, task, ratios)
    except Exception as error:  # the evaluator lacks an operator, or breaks on doubles
        return f"not decided: {type(error).__name__}: {first_line(error)}"


def measured(manifest: Manifest) -> dict[str, Any]:
    """The figures of the manifest's proof, one list for each column of the bounds.

    Of several outputs, each sample has the figures of the one that is nearest to its bound.
    """
    parity = manifest["parity"]
    outputs = parity["outputs"]
    rows = [max(each, key=_nearest) for each in zip(*(o["bounds"] for o in outputs), strict=True)]
    columns = {name: [row[name] for row in rows] for name in ("rmse", "e_eager", "floor", "bound")}
    tops = [output["top1"] for output in outputs if output["top1"] is not None]
    top1 = {name: sum(top[name] for top in tops) for name in ("decided", "agreed")}
    parts = [output["channels"] for output in outputs if output["channels"] is not None]
    kinds = [sample["kind"] for sample in parity["samples"]]
    beyond = [f"part: {each['worst']} {each['ratio']}" for each in parts if not _within(each)]
    return {
        "built": "passed" if manifest["status"] == "proved" else "refused",
        "failures": [
            *failures(kinds, columns["rmse"], columns["bound"], top1, parity["gates"]),
            *beyond,
        ],
        "status": manifest["status"],
        "oracle": parity["oracle"],
        "kinds": kinds,
        **columns,
        "parts": max((each["ratio"] for each in parts if each["ratio"] is not None), default=None),
        "skipped_samples": parity["skipped_samples"],
        "top1": top1,
        "gates": parity["gates"],
        "skipped_gates": parity["skipped_gates"],
        "identical": manifest["determinism"].get("bit_identical"),
    }


def _nearest(row: dict[str, Any]) -> float:
    return ratio(row["rmse"], row["bound"])


def _within(channels: dict[str, Any]) -> bool:
    return channels["ratio"] is not None and channels["ratio"] <= 1


def failures(
    kinds: list[str],
    rmse: list[float | None],
    bounds: list[float],
    top1: dict[str, int],
    gates: list[dict[str, Any]],
) -> list[str]:
    """What failed, in words: the manifest of an accepted artifact has the figures alone."""
    beyond = [
        f"{kind} {ratio(error, bound):.3g}"
        for kind, error, bound in zip(kinds, rmse, bounds, strict=True)
        if not ratio(error, bound) <= 1
    ]
    found = [f"bound: {', '.join(beyond)}"] if beyond else []
    if top1["agreed"] < top1["decided"]:
        found.append(f"class: another in {top1['decided'] - top1['agreed']} clear samples")
    return [*found, *gate_failures(gates, {})]


def ratio(error: float | None, bound: float) -> float:
    """error / bound; 0 if there is no error, infinite if the output was not finite."""
    if error is None:
        return math.inf
    return 0.0 if error == 0 else error / bound if bound else math.inf
