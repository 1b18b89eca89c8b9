"""What went wrong elsewhere and was reported: here it is refused, caught, or cannot happen.

Each test says which report it stands for. Those about the ONNX exporter are in
test_known_exporter_breakages.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile import machine
from compile.api import compile_module, load
from compile.artifact.reading import open_artifact
from compile.backends import inductor, inductor_file
from compile.errors import BadArtifact, CheckFailed
from compile.network.fold import fold_batch_norms
from compile.spec import CompileSpec
from tests.support.faults import in_training, nothing_in
from tests.support.networks import SHAPE, SmallNet, small_net, small_prepared

FP32 = CompileSpec(shape=SHAPE)
RANGE = CompileSpec(shape=SHAPE, batch=(1, 8))
X = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_the_range_of_batches_stays_a_range(built: dict[str, Path]) -> None:
    """pytorch 157621 again: the example was a batch of one, which torch.export takes for a
    constant. Ours is never one where a range is asked for."""
    import onnx

    assert len(RANGE.example()) == 2
    dimension = onnx.load(built["onnx"] / "model.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert dimension.dim_param and not dimension.HasField("dim_value")


def test_a_shared_convolution_is_not_folded() -> None:
    """Folding by name alone: a convolution that runs twice, and is followed by a batch norm once,
    would be scaled in both places. onnxscript 0.7.2 looks for other readers of the weights."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.bn = nn.BatchNorm2d(2)
            nn.init.uniform_(self.bn.running_mean, -1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.bn(self.conv(x)) + self.conv(x)).mean((2, 3))

    module = Shared().eval()
    folded = fold_batch_norms(module, X[:1])
    assert isinstance(folded.get_submodule("bn"), nn.BatchNorm2d)
    assert torch.equal(folded(X), module(X))


UNCHECKED: dict[str, Callable[[], torch.Tensor]] = {
    "channels_last": lambda: X.to(memory_format=torch.channels_last),
    "every other pixel": lambda: X.repeat_interleave(2, dim=3)[..., ::2],
    "float64": X.double,
    "a batch beyond the range": lambda: X.repeat(4, 1, 1, 1),
    "a larger image": lambda: X.repeat(1, 1, 2, 2),
}


@pytest.mark.parametrize("name", UNCHECKED)
def test_inputs_that_aotinductor_does_not_check(name: str, built: dict[str, Path]) -> None:
    """pytorch 141115: AOTInductor checks neither shape nor dtype nor strides by default.

    It reads whatever lies there: a channels_last batch as NCHW, doubles as floats. We refuse
    before it is called; zoo-run refuses the same files (test_api.py, test_bad_inputs).
    """
    x = UNCHECKED[name]()
    artifact = open_artifact(built["inductor"])
    dynamic = artifact.programs[-1]
    raw = inductor.load(artifact.files[dynamic.file].path, dynamic, "cpu")
    with torch.no_grad():
        expected = small_net()(x.float())
    if name != "a batch beyond the range":  # which happens to come out right
        assert not torch.allclose(raw(x), expected, atol=1e-3), "it has learned to read this"
    with pytest.raises(BadArtifact):
        load(built["inductor"])(x)


def test_freezing_is_not_ignored_with_gradients_on(
    built: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pytorch 125474, 184345: Inductor ignores `freezing` without a word while gradients are on.

    A user's are on, as they are here; they are off where it matters.
    """
    assert torch.is_grad_enabled(), "so they were when the artifacts of these tests were built"
    for file in ("model.pt2", "model-b1.pt2"):
        rows = inductor_file.layout(str(built["inductor"] / file))
        weights = [row.name for row in rows if len(row.shape) == 4 and not row.folded]
        assert weights and all(name.startswith("_frozen") for name in weights)
    seen = []

    def stop(*_: object, **__: object) -> None:
        seen.append(torch.is_grad_enabled())
        raise KeyboardInterrupt

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", stop)
    with torch.enable_grad(), pytest.raises(KeyboardInterrupt):
        inductor.build(small_net(), CompileSpec(shape=SHAPE, target="x86-64-v3"), tmp_path)
    assert seen == [False]


@pytest.mark.filterwarnings("ignore")  # torch's own, on the way that is not taken
def test_a_program_that_was_not_frozen_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same reports: what gradients make of it is not published."""
    import torch._inductor

    real = torch._inductor.aoti_compile_and_package

    def with_gradients(*arguments: Any, **named: Any) -> Any:
        with torch.enable_grad():
            return real(*arguments, **named)

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", with_gradients)
    with pytest.raises(CheckFailed, match="did not freeze"):
        compile_module(small_net(), FP32, backend="inductor", root=tmp_path)
    assert nothing_in(tmp_path)


def test_a_batch_norm_in_training_mode_is_named(tmp_path: Path) -> None:
    """onnxscript 1338: networks whose code asks for training=True are exported like that, whatever
    .eval() says, and each image's answer depends on its neighbours."""
    with pytest.raises(CheckFailed, match=r"^layer 'bn2' is a batch norm in training mode"):
        compile_module(in_training(small_net()), RANGE, backend="torchscript", root=tmp_path)
    assert nothing_in(tmp_path)


def test_a_batch_norm_without_statistics_is_named(tmp_path: Path) -> None:
    """pytorch 75252: without running statistics a batch norm is in training mode for good."""
    net = small_net()
    net.bn3 = nn.BatchNorm2d(32, track_running_stats=False).eval()
    with pytest.raises(CheckFailed, match=r"^layer 'bn3' is a batch norm in training mode"):
        compile_module(net, FP32, backend="onnx", root=tmp_path)


@pytest.mark.parametrize("backend", ["onnx", "openvino", "inductor"])
def test_sums_of_bytes_that_overflow(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime's and OpenVINO's notes on quantisation tell of saturation on CPUs without VNNI,
    where values are large. The hostile samples show it best; 7 bits do not have it.
    """
    if machine.vnni() is not None:
        pytest.skip("this CPU has VNNI, whose sums do not overflow")
    spec = CompileSpec(shape=SHAPE, precision="int8")
    compile_module(small_prepared(), spec, backend=backend, root=tmp_path)
    monkeypatch.setattr("compile.proof.prepared.scheme_here", lambda quantizer: quantizer)
    with pytest.raises(CheckFailed, match="samples beyond their bound"):
        compile_module(small_prepared(), spec, backend=backend, root=tmp_path, force=True)


class Standardised(nn.Conv2d):
    """A convolution of standardised weights, as timm writes it: a batch norm of the weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.weight.reshape(1, len(self.weight), -1)
        weight = nn.functional.batch_norm(flat, None, None, training=True).reshape_as(self.weight)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


@pytest.mark.parametrize("backend", ["eager", "torchscript"])
def test_weights_may_be_normalised(backend: str, tmp_path: Path) -> None:
    """onnxscript 1338 is about these as well: they are the same in every mode, and not refused.

    TorchScript holds what was computed of them, and the gate computes it as well.
    """
    net = small_net()
    net.conv2.__class__ = Standardised
    entry = compile_module(net, FP32, backend=backend, root=tmp_path).manifest["parity"]
    gates = [gate["name"] for gate in entry["gates"]]
    assert gates == ["constants", "batches refused", "determinism"]
    assert entry["skipped_gates"] == []


def test_a_network_given_in_training_mode(net: SmallNet, tmp_path: Path) -> None:
    """pytorch 49229, 52867: what `training` meant to the exporter changed more than once. Here it
    is evaluation mode always, and the network given stays as it was."""
    result = compile_module(net.train(), RANGE, backend="torchscript", root=tmp_path)
    assert net.training and net.bn2.training
    with torch.no_grad():
        expected = small_net()(X)
    torch.testing.assert_close(load(result.path)(X), expected, rtol=1e-4, atol=1e-5)
