"""TensorRT on a real GPU: every precision, ranges of batches, both forms, zoo-run, CUDA graphs.

Skipped where there is no GPU. `just gpu-tests` runs these and writes what it found into results/.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from compile import precision as rows
from compile.api import compile_module, load
from compile.artifact.programs import ProgramFile
from compile.artifact.reading import open_artifact
from compile.backends import backend, qdq, tensorrt_plan
from compile.backends.base import Backend
from compile.network.fold import fold_batch_norms
from compile.network.prepare import cast
from compile.runner import call_runner, has_engine, library_paths
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_net
from tests.support.quantized import SHAPE as QUANTIZED_SHAPE
from tests.support.quantized import QuantizedNet, graph_of, samples

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]  # those of NVIDIA's packages

FORMS = ("tensorrt", "tensorrt-plan")
FLOATS = ("fp32", "tf32", "bf16", "fp16")
BATCHES = (1, 2, 7, 32, 64)


def maker_of(form: str, precision: str = "fp16") -> Backend:
    """The backend, or the reason why this machine cannot build with it."""
    maker = backend(form)
    reason = maker.missing("cuda", precision)
    if reason is not None:
        pytest.skip(f"{form} {reason}")
    return maker


def module_at(dtype: str) -> nn.Module:
    """What `build` is given: batch norms folded, then cast."""
    return cast(fold_batch_norms(small_net(), torch.zeros(1, *SHAPE)), dtype)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the difference, relative to the expected values'."""
    expected = expected.double().cpu()
    difference = found.double().cpu() - expected
    return float(difference.square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.mark.parametrize("batch", [(1, 1), (1, 64)], ids=["static", "range"])
@pytest.mark.parametrize("precision", FLOATS)
@pytest.mark.parametrize("form", FORMS)
def test_an_engine_computes_what_the_module_does(
    tmp_path: Path, form: str, precision: str, batch: tuple[int, int]
) -> None:
    maker = maker_of(form)
    dtype = "fp32" if precision == "tf32" else precision
    spec = CompileSpec(shape=SHAPE, batch=batch, precision=precision, device="cuda")
    built = maker.build(module_at(dtype), spec, tmp_path)
    assert built.precision == precision
    (entry,) = built.programs
    program = maker.load(str(tmp_path / entry.file), entry, "cuda")
    limit = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 5e-2, "fp16": 5e-3}[precision]
    for size in BATCHES if spec.dynamic else batch[:1]:
        x = torch.randn(size, *SHAPE, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected = small_net().double()(x.double())
            found = program(x.cuda())
        assert found.shape == expected.shape and found.dtype == torch.float32
        assert error(found, expected) < limit


@pytest.mark.parametrize("size", BATCHES)
@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_a_quantised_plan_computes_what_its_graph_does(
    tmp_path: Path, precision: str, size: int
) -> None:
    maker_of("tensorrt-plan")
    if precision == "fp8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("FP8 needs a GPU of sm_89 or newer")
    spec = CompileSpec(shape=QUANTIZED_SHAPE, batch=(1, 64), precision=precision, device="cuda")
    built = tensorrt_plan.build(QuantizedNet().eval(), spec, tmp_path)
    assert built.precision == precision
    program = tensorrt_plan.load(str(tmp_path / "model.plan"), built.programs[0], "cuda")
    graph = graph_of(QuantizedNet(), batch=(1, 64))
    graph = qdq.to_fp8(graph) if precision == "fp8" else graph
    x = samples(size)
    (expected,) = ReferenceEvaluator(graph).run(None, {"input": x.numpy()})  # type: ignore[misc]
    # Sums are taken in another order, and a value on the edge of a step then falls to its other
    # side: one step of the type, not more.
    limit = {"int8": 0.02, "fp8": 0.1}[precision]
    assert error(program(x.cuda()), torch.from_numpy(expected)) < limit


@pytest.mark.parametrize("form", FORMS)
def test_a_portable_engine_runs(tmp_path: Path, form: str) -> None:
    maker = maker_of(form)
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("portable engines start at sm_80")
    spec = CompileSpec(shape=SHAPE, device="cuda", precision="fp16", portable=True)
    built = maker.build(module_at("fp16"), spec, tmp_path)
    entry = ProgramFile(file=built.programs[0].file, batch=(1, 1))
    program = maker.load(str(tmp_path / entry.file), entry, "cuda")
    x = torch.randn(1, *SHAPE)
    with torch.no_grad():
        assert error(program(x.cuda()), small_net()(x)) < 5e-3


@pytest.mark.parametrize("precision", [name for name in FLOATS if name in rows.PRECISIONS])
@pytest.mark.parametrize("form", FORMS)
def test_an_artifact_proves_itself(tmp_path: Path, runner: Path, form: str, precision: str) -> None:
    """The whole way: build, parity in Python and in zoo-run, publish, load again, CUDA graphs."""
    maker_of(form)
    spec = CompileSpec(shape=SHAPE, batch=(1, 64), precision=precision, device="cuda")
    result = compile_module(small_net(), spec, backend=form, root=tmp_path, runner=runner)
    assert result.manifest["precision"] == precision
    x = torch.randn(7, *SHAPE)
    assert load(result.path)(x).shape == (7, 10)
    assert open_artifact(result.path).manifest["requirements"]["gpu_arch"].startswith("sm_")
    if not has_engine(runner, form):
        pytest.skip(f"zoo-run has no engine for {form}; parity in Python passed")
    assert result.manifest["parity"]["ran_in"] == ["python", "zoo-run"]
    where = [str(result.path), *library_paths()]
    call_runner(runner, [*where, "--check", "--quiet"])
    call_runner(runner, [*where, "--batch", "32", "--duration", "0.5", "--quiet"])
    helped = subprocess.run([runner, "--help"], capture_output=True, text=True, check=True).stdout
    if "--cuda-graph" not in helped:
        pytest.skip("this zoo-run has no --cuda-graph; the rest passed")
    call_runner(runner, [*where, "--cuda-graph", "--check", "--quiet"])
    call_runner(runner, [*where, "--cuda-graph", "--batch", "32", "--duration", "0.5", "--quiet"])
