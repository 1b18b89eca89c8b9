"""compile_module and load: what is asked for, what is given back, what is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compile.api import Model, PreparedModel, compile_module, load
from compile.artifact.reading import open_artifact
from compile.backends import BACKENDS, backend, choose, torchscript
from compile.errors import BadArtifact, CheckFailed, Unavailable, UsageError
from compile.network.prepare import cast
from compile.precision import PRECISIONS
from compile.proof import float_tasks
from compile.spec import CompileSpec, parse_batch, parse_shape
from tests.support.networks import KINDS, PYTHON_ONLY, SHAPE, SmallNet, small_net


def test_three_lines(net: SmallNet, tmp_path: Path) -> None:
    """What the README shows."""
    spec = CompileSpec(shape=SHAPE)
    result = compile_module(net, spec, backend="torchscript", root=tmp_path)
    logits = load(result.path)(torch.randn(1, *SHAPE))
    assert logits.shape == (1, 10)


def test_the_same_request_returns_at_once(net: SmallNet, tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE)
    first = compile_module(net, spec, backend="torchscript", root=tmp_path)
    again = compile_module(net, spec, backend="torchscript", root=tmp_path)
    forced = compile_module(net, spec, backend="torchscript", root=tmp_path, force=True)
    assert (first.built, again.built, forced.built) == (True, False, True)
    assert first.path == again.path == forced.path
    (first.path / "model.ts").write_bytes(b"damaged")
    assert compile_module(net, spec, backend="torchscript", root=tmp_path).built


IMAGES = torch.zeros(32, *SHAPE)

WITHOUT_EFFECT: dict[str, dict[str, Any]] = {
    "a name beside a model": {"name": "one", "model": Model(name="other")},
    "samples beside a prepared model": {"samples": IMAGES},
    "calibration beside a prepared model": {"calibration": IMAGES},
}


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
def test_an_argument_without_effect_is_refused(case: str, net: SmallNet, tmp_path: Path) -> None:
    module = PreparedModel(net, SHAPE) if "prepared" in case else net
    with pytest.raises(UsageError, match=r"not both|brings its own"):
        compile_module(
            module,
            CompileSpec(shape=SHAPE),
            backend="torchscript",
            root=tmp_path,
            **WITHOUT_EFFECT[case],
        )


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_answers_its_batches_and_no_others(kind: str, built: dict[str, Path]) -> None:
    low, high = KINDS[kind][2]
    run = load(built[kind])
    ranges = [program.batch for program in open_artifact(built[kind]).programs]
    assert ranges[-1] == (low, high)
    assert ranges[:-1] == ([(1, 1)] if kind == "inductor" else [])
    x = torch.randn(high, *SHAPE)
    whole = torch.cat([run(row[None]) for row in x])
    for batch in {low, min(3, high), high}:
        torch.testing.assert_close(run(x[:batch]), whole[:batch], rtol=0.02, atol=0.02)
    with pytest.raises(BadArtifact, match="batch"):
        run(torch.randn(high + 1, *SHAPE))


BAD_INPUTS: dict[str, Callable[[], torch.Tensor]] = {
    "float64": lambda: torch.randn(1, *SHAPE, dtype=torch.float64),
    "int8": lambda: torch.ones(1, *SHAPE, dtype=torch.int8),
    "rank": lambda: torch.randn(*SHAPE),
    "channels": lambda: torch.randn(1, SHAPE[0] + 1, *SHAPE[1:]),
    "size": lambda: torch.randn(1, SHAPE[0], SHAPE[1] * 2, SHAPE[2] * 2),
    "empty": lambda: torch.randn(0, *SHAPE),
    "layout": lambda: torch.randn(1, *SHAPE).to(memory_format=torch.channels_last),
    "strided": lambda: torch.randn(1, SHAPE[0], SHAPE[1], 2 * SHAPE[2])[..., ::2],
    "nan": lambda: torch.full((1, *SHAPE), torch.nan),
    "inf": lambda: torch.full((1, *SHAPE), torch.inf),
}

IN_MEMORY = ("layout", "strided")
"""Faults that no file has: what numpy.save writes of them is contiguous."""


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *(("torchscript", fault) for fault in BAD_INPUTS),
        *((kind, "size") for kind in KINDS if kind != "torchscript"),
    ],
)
def test_bad_inputs(
    kind: str, fault: str, built: dict[str, Path], runner: Path, tmp_path: Path
) -> None:
    """Python and zoo-run refuse the same inputs, with 3 and one line.

    What they ask for is the same for every kind, so each kind refuses one input alone.
    """
    x = BAD_INPUTS[fault]()
    with pytest.raises(BadArtifact):
        load(built[kind])(x)
    if kind in PYTHON_ONLY or fault in IN_MEMORY:
        return
    np.save(tmp_path / "x.npy", x.numpy())
    command = [runner, built[kind], "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "y.npy").exists()


def test_non_finite_weights(net: SmallNet, tmp_path: Path) -> None:
    with torch.no_grad():
        net.bn2.running_var[3] = torch.nan
    with pytest.raises(BadArtifact, match=r"bn2\.running_var"):
        compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path)
    assert not list(tmp_path.rglob("*.ts"))


def test_the_same_weights_in_another_network_are_another_request(
    net: SmallNet, tmp_path: Path
) -> None:
    spec = CompileSpec(shape=SHAPE)
    compile_module(net, spec, backend="torchscript", root=tmp_path)
    net.conv3.stride = (1, 1)
    assert compile_module(net, spec, backend="torchscript", root=tmp_path).built


def test_two_at_once_leave_one_whole_artifact(tmp_path: Path) -> None:
    """Each publishes in one step: both succeed, and what stands there is sound."""
    with ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(
                compile_module,
                small_net(),
                CompileSpec(shape=SHAPE),
                backend="torchscript",
                root=tmp_path,
            )
            for _ in range(2)
        ]
        paths = {each.result().path for each in made}
    (path,) = paths
    open_artifact(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_wrong_input_shape(net: SmallNet, tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="1x5x8x8"):
        compile_module(net, CompileSpec(shape=(5, 8, 8)), backend="torchscript", root=tmp_path)


@pytest.mark.parametrize("before", ["", "\n", "Exception from src/core/src/model.cpp:105:\n"])
def test_a_build_that_breaks_is_one_line(
    before: str, net: SmallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError(f"{before}first line\nsecond line")

    monkeypatch.setattr(torchscript, "build", explode)
    with pytest.raises(CheckFailed, match=r": first line; replace what it calls, or take another"):
        compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_of_another_precision_is_not_published(
    net: SmallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float_tasks, "cast", lambda module, _: cast(module, "bf16"))
    with pytest.raises(CheckFailed, match="asked for fp32, the file holds bf16"):
        compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_keeps_the_contract(name: str) -> None:
    maker = backend(name)
    assert name == maker.NAME
    assert maker.PRECISIONS and set(maker.PRECISIONS) <= {"cpu", "cuda"}
    for device, precisions in maker.PRECISIONS.items():
        assert set(precisions) <= set(PRECISIONS)
        for precision in precisions:
            reason = maker.missing(device, precision)
            assert reason is None or "\n" not in reason
        with pytest.raises(UsageError, match="it has"):
            choose(name, "int3", device)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(UsageError, match="eager, torch-compile, torchscript, inductor, onnx"):
        backend("tflite")
    with pytest.raises(UsageError, match="it builds for: cpu"):
        choose("onnx", "fp32", "cuda")


def test_tensorrt_is_unavailable_here() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Unavailable, match="NVIDIA"):
        choose("tensorrt", "fp16", "cuda")


@pytest.mark.parametrize("text", ["0", "", "a", "3:1", "-1", "1:", "1.5", "5000", "1:99999999"])
def test_bad_batches(text: str) -> None:
    with pytest.raises(UsageError):
        CompileSpec(shape=SHAPE, batch=parse_batch(text))


@pytest.mark.parametrize("text", ["3x224", "2x3x224x224", "ax1x1", "", "0x8x8"])
def test_bad_shapes(text: str) -> None:
    with pytest.raises(UsageError):
        CompileSpec(shape=parse_shape(text))
