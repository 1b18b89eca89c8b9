"""Quantisation: the fake-quantised graph, its simulation, its gates, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compile import machine
from compile.backends import backend
from compile.errors import BadArtifact, CheckFailed, NotBuildable
from compile.network.fake_quantised import FakeQuantised, simulated
from compile.network.fold import fold_batch_norms
from compile.network.quantize import MIN_SAMPLES, SCHEMES, quantize, scheme_here
from compile.proof import gates, parity
from compile.proof.constants import compare
from compile.proof.images import Calibration, Labelled
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, SmallNet, small_net, small_prepared, values_of

IMAGES = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(1))


def flat(count: int) -> torch.Tensor:
    """Images of one colour each, (count, 2, 8, 8): their classes differ, those of noise do not."""
    generator = torch.Generator().manual_seed(2)
    return (4 * torch.randn(count, SHAPE[0], 1, 1, generator=generator)).expand(-1, *SHAPE).clone()


def fake_quantised(scheme: str = "x86") -> FakeQuantised:
    return quantize(fold_batch_norms(small_net(), IMAGES[:1]), IMAGES, scheme)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    expected = expected.double()
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_graph_is_near_the_module_and_simulated_exactly(scheme: str) -> None:
    quantised = fake_quantised(scheme)
    with torch.no_grad():
        expected, found = small_net()(IMAGES), quantised(IMAGES)
        assert 1e-4 < relative(found, expected) < 0.03, "int8 must cost something, and not much"
        assert torch.equal(simulated(quantised, torch.float32)(IMAGES), found)
        exact = simulated(quantised, torch.float64)(IMAGES.double())
        assert exact.dtype == torch.float64
        assert relative(found, exact) < 0.01
        if scheme == "symmetric":  # fp8 has no zero points
            rounded = simulated(quantised, torch.float32, fp8=True)(IMAGES)
            assert 2 * relative(found, expected) < relative(rounded, expected) < 0.2


@pytest.mark.parametrize(
    ("flags", "scheme"), [((), "x86-7bit"), (("avx_vnni",), "x86"), (("avx512_vnni",), "x86")]
)
def test_the_cpu_decides_how_many_bits_weights_have(
    flags: tuple[str, ...], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two products of bytes are added in 16 bits, 7 bits fit and 8 do not."""
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(("avx2", *flags)))
    assert [scheme_here(quantizer) for quantizer in ("x86", "symmetric")] == [scheme, "symmetric"]
    weights = [value for _, value in fake_quantised(scheme).weights() if value.dtype == torch.int8]
    largest = max(int(value.short().abs().max()) for value in weights)
    assert largest <= 64 if scheme == "x86-7bit" else largest >= 127
    assert (2 * 255 * largest < 2**15) is (scheme == "x86-7bit")


def test_symmetric_has_no_zero_points() -> None:
    zeros = {
        node.args[2]
        for node in fake_quantised("symmetric").network.graph.nodes
        if "quantize_per_tensor" in str(node.target)
    }
    assert zeros == {0}


def test_every_convolution_holds_bytes() -> None:
    weights = dict(fake_quantised().weights())
    kinds = {(value.dtype, value.ndim) for value in weights.values()}
    assert kinds == {(torch.int8, 4), (torch.int8, 2), (torch.float32, 1)}


def test_a_batch_norm_before_its_activation_is_no_weight_of_the_file() -> None:
    """Nothing precedes it that it could be folded into, and compilers fold its own numbers."""

    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn1 = nn.BatchNorm2d(SHAPE[0])
            self.conv1 = nn.Conv2d(SHAPE[0], 8, 3, bias=False)
            self.fc = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv1(self.bn1(x).relu()).mean((2, 3)))

    net = Unit().eval()
    net.bn1.running_var.fill_(3.0)
    graph = quantize(fold_batch_norms(net, IMAGES[:1]), IMAGES, "x86")
    found = [(value.dtype, value.ndim) for _, value in graph.weights()]
    assert found == [(torch.int8, 4), (torch.int8, 2), (torch.float32, 1)]


def test_a_copy_shares_nothing() -> None:
    first = fake_quantised()
    second = copy.deepcopy(first)
    for _, value in second.weights():
        value.zero_()
    assert any(value.any() for _, value in first.weights())


def test_too_few_images() -> None:
    with pytest.raises(BadArtifact, match=rf"5 calibration images .* needs {MIN_SAMPLES}"):
        quantize(small_net(), IMAGES[:5], "x86")


def test_no_images() -> None:
    spec = CompileSpec(shape=SHAPE, precision="int8")
    with pytest.raises(NotBuildable, match="--calibrate"):
        PreparedModel(small_net(), SHAPE).task(spec, backend("onnx"))


class _OneReLU(nn.Module):
    """The block of many networks: one ReLU module, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(2))
        self.relu, self.fc = nn.ReLU(), nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.first(x))
        return self.fc(self.relu(self.second(y) + x).mean((2, 3)))


def test_a_module_that_is_called_twice() -> None:
    quantised = quantize(_OneReLU().eval(), IMAGES, "x86")
    assert sum(value.dtype == torch.int8 for _, value in quantised.weights()) == 3


class _OwnWeights(nn.Module):
    """Convolves by a layer, and by weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)
        self.first, self.second = (nn.Parameter(torch.randn(2, 2, 3, 3)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.conv2d(self.conv(x).relu(), self.first).relu()
        return nn.functional.conv2d(y, self.second).mean((2, 3))


def test_weights_are_named_by_their_layers() -> None:
    names = [name for name, _ in fake_quantised().weights()]
    assert {"conv1.weight", "conv1.bias", "fc.weight", "fc.bias"} <= set(names)
    names = [name for name, _ in quantize(_OwnWeights().eval(), IMAGES, "x86").weights()]
    assert len(names) == len(set(names)) == 4
    assert {"conv.weight", "conv.bias"} < set(names)


class _NoKernel(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).sin()


def test_a_network_without_integer_kernels() -> None:
    with pytest.raises(CheckFailed, match="cannot be quantised: no operator"):
        quantize(_NoKernel(), IMAGES, "x86")


def labelled(net: SmallNet) -> Labelled:
    """400 images whose classes are clear, and those classes."""
    images = flat(800)
    with torch.no_grad():
        scores = net(images).topk(2).values
        images = images[(scores[:, 0] - scores[:, 1]).argsort(descending=True)[:400]]
        labels = net(images).argmax(dim=1)
    assert len(labels.unique()) > 1
    return Labelled(images=images, labels=labels)


def prepared_with(images: torch.Tensor) -> PreparedModel:
    return PreparedModel(
        small_net(),
        SHAPE,
        calibration=Calibration(images=images, source="noise"),
        labelled=labelled(small_net()),
    )


def test_the_budget_of_accuracy_passes_and_fails() -> None:
    """Ranges from images a thousand times too faint cut everything off: the budget is spent."""
    spec = CompileSpec(shape=SHAPE, precision="int8")
    for scale, passed in ((1.0, True), (1e-3, False)):
        task = prepared_with(scale * flat(64)).task(spec, backend("onnx"))
        budget = task.gates[-1]
        assert budget["name"] == "accuracy budget" and budget["passed"] is passed, budget
        assert task.quantization is not None and task.quantization["accuracy"]["images"] == 400
        if not passed:
            assert any("accuracy budget" in each for each in gates.failures(task.gates, {}))


def test_ranges_that_cut_everything_off_need_no_labels_to_be_found() -> None:
    """Black images to calibrate with leave outputs that no longer depend on the input."""
    spec = CompileSpec(shape=SHAPE, precision="int8")
    for images, passed in ((flat(64), True), (torch.zeros(64, *SHAPE), False)):
        calibration = Calibration(images=images, source="here")
        prepared = PreparedModel(small_net(), SHAPE, samples=flat(64), calibration=calibration)
        (noise,) = prepared.task(spec, backend("onnx")).gates
        assert noise["name"] == "quantisation noise" and noise["passed"] is passed, noise


def test_without_labels_the_budget_is_skipped_with_its_reason() -> None:
    task = small_prepared().task(CompileSpec(shape=SHAPE, precision="int8"), backend("onnx"))
    assert [each["name"] for each in task.skipped] == ["accuracy budget"]


def test_a_weight_one_step_off_is_found() -> None:
    task = small_prepared().task(CompileSpec(shape=SHAPE, precision="int8"), backend("onnx"))
    right = values_of(task.weights).values()
    assert compare(task.weights, "int8", right).gate["passed"]
    changed = [value.clone() for value in right]
    target = next(value for value in changed if value.dtype == torch.int8)
    largest = int(target.abs().argmax())
    target.view(-1)[largest] -= int(target.view(-1)[largest].sign())
    assert not compare(task.weights, "int8", changed).gate["passed"]


def test_int8_is_held_to_its_own_graph() -> None:
    """Another network's graph, quantised as well, is far beyond the bound."""
    spec = CompileSpec(shape=SHAPE, precision="int8")
    task = small_prepared().task(spec, backend("onnx"))
    other = small_prepared(1).task(spec, backend("onnx"))
    with torch.no_grad():
        assert parity.judge(task.module(task.golden.input), task.golden, task.bounds).passed
        verdict = parity.judge(other.module(task.golden.input), task.golden, task.bounds)
    assert verdict.ratio > 10


def test_half_a_step_is_luck_at_int8() -> None:
    """Where PyTorch has no value on a rounding edge, another program may still have one."""
    task = small_prepared().task(CompileSpec(shape=SHAPE, precision="int8"), backend("onnx"))
    typical = task.golden.layout.rms(task.golden.oracle)
    assert bool((task.bounds.e_eager >= 2.0**-8 * typical).all())


class _FullPrecision(SmallNet):
    """A part of the forward is kept out of autocast, as some networks of timm do it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            x = x * 1.5
        return super().forward(x)


def test_a_region_without_autocast_is_not_a_weight() -> None:
    net = small_net()
    net.__class__ = _FullPrecision
    names = {name for name, _ in quantize(net, IMAGES, "x86").weights()}
    assert "conv1.weight" in names
