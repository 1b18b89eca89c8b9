"""The yardstick: legal ways to evaluate a module, what each rounds, and the bounds that follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from compile.api import compile_module
from compile.proof import parity, yardstick
from compile.proof.prepared import PreparedModel
from compile.proof.ways import ORDERS, InOrder, Jittered
from compile.spec import CompileSpec
from tests.networks import NETWORKS
from tests.support.networks import small_net

SHAPE = (3, 32, 32)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def smallest() -> nn.Module:
    """It ends in a mean over 256 pixels, which are all alike in an image of one colour."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def normalised(norm: nn.Module) -> nn.Module:
    """A channel without variance leaves the norm's rounding, 300 times as large."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        norm,
        nn.Conv2d(16, 16, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def test_in_order_adds_one_value_after_the_other() -> None:
    x = torch.tensor([2.0**24, 1.0, 1.0])  # each 1 is less than half a step of 2**24
    with InOrder():
        assert float(x.sum()) == 2.0**24
        assert float(x.flip(0).sum()) == 2.0**24 + 2
    with InOrder("in reverse"):
        assert float(x.sum()) == 2.0**24 + 2
    with InOrder("in two halves"):  # of two values and of one
        assert float(torch.tensor([1.0, 1.0, 2.0**24, 0.0]).sum()) == 2.0**24 + 2


def batch_statistics(x: torch.Tensor) -> torch.Tensor:
    return functional.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(),
        lambda x: x.sum(),
        lambda x: x.mean((2, 3)),
        lambda x: x.mean(-1, keepdim=True),
        lambda x: x.sum(1),
        lambda x: x.cumsum(2),
        lambda x: x.var((2, 3)),
        lambda x: x.std(1, keepdim=True, correction=0),
        lambda x: x.std(),
        lambda x: torch.cat(torch.var_mean(x, dim=(0, 2))),
        lambda x: torch.cat(torch.std_mean(x, dim=-1)),
        lambda x: x.norm(dim=2),
        lambda x: x.norm(),
        lambda x: x.norm(p=1, dim=(2, 3), keepdim=True),
        functional.normalize,
        lambda x: functional.adaptive_avg_pool2d(x, 1),
        lambda x: functional.layer_norm(x, [8], torch.arange(8.0).double(), torch.ones(8).double()),
        lambda x: functional.group_norm(x, 2, torch.arange(6.0).double(), None),
        lambda x: functional.instance_norm(x),
        batch_statistics,
    ],
)
def test_in_order_computes_the_same_function(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    x = torch.randn(4, 6, 8, 8, dtype=torch.float64)
    for order in ORDERS:
        with InOrder(order):
            ordered = function(x)
        torch.testing.assert_close(ordered, function(x), rtol=1e-12, atol=1e-12)


def test_in_order_adds_the_squares_of_a_variance_and_a_norm() -> None:
    x = torch.tensor([2.0**12] + 30 * [1.0])  # 1 is less than half a step of its square, 2**24
    with InOrder():
        assert float(x.norm()) == 2.0**12
        assert float(x.flip(0).norm()) > 2.0**12
        x = torch.tensor([2.0**12, -(2.0**12)] + 15 * [1.0, -1.0])
        assert float(x.var(correction=0)) * 32 == 2.0**25
        assert float(x.flip(0).var(correction=0)) * 32 == 2.0**25 + 32


def test_in_order_keeps_the_type_and_sums_wider() -> None:
    x = torch.full((1, 300), 1.0, dtype=torch.bfloat16)  # bfloat16 itself cannot count beyond 256
    with InOrder():
        total, norm, spread = x.sum(1), x.repeat(1, 3).norm(dim=1), x.var(1)
    assert (total.dtype, float(total)) == (torch.bfloat16, 300.0)
    assert (norm.dtype, float(norm), spread.dtype) == (torch.bfloat16, 30.0, torch.bfloat16)


def test_jitter_moves_results_by_half_a_step_at_most() -> None:
    x = torch.randn(8, 1000)
    with Jittered(0, 2.0**-23):
        moved = x * 1
        exact = [x.relu(), x.reshape(4, -1), torch.cat([x, x]), x.clamp(-1, 1)]
    change = ((moved - x) / x).abs()
    assert 0.2 < float((change > 0).double().mean()) and float(change.max()) < 2.0**-22
    for found, wanted in zip(
        exact, [x.relu(), x.reshape(4, -1), torch.cat([x, x]), x.clamp(-1, 1)], strict=True
    ):
        assert torch.equal(found, wanted)


def test_jitter_leaves_zeros_infinities_and_integers_alone() -> None:
    with Jittered(0, 0.5):
        assert bool((torch.full((100,), -torch.inf) + torch.ones(100)).isneginf().all())
        assert not torch.zeros(1, 100).log().exp().any()
        assert not (torch.zeros(100) * 3).any()
        assert torch.equal(torch.arange(10) * 2, torch.arange(0, 20, 2))


def test_jitter_leaves_whole_numbers_alone() -> None:
    with Jittered(0, 2.0**-23):
        place = torch.arange(16) * 1.0
        assert torch.equal(place[:, None] - place + 15.0, (place[:, None] - place + 15.0).round())


def test_a_table_that_is_looked_up_widens_no_bound() -> None:
    row = NETWORKS["table_of_distances"]
    prepared = PreparedModel(row.build(), row.shape)
    golden = prepared.golden("float32")
    bounds = yardstick.measure_bounds(prepared.network.module, "fp32", golden)
    size = golden.layout.rms(golden.oracle)
    assert float((bounds.bound / size)[:16].max()) < 1e-5


def test_jitter_is_the_same_for_each_sample_and_each_seed() -> None:
    row = torch.randn(1, 50)

    def moved(seed: int) -> torch.Tensor:
        with Jittered(seed, 2.0**-8):
            return row.expand(3, 50) * 1

    assert torch.equal(moved(1)[0], moved(1)[2])
    assert not torch.equal(moved(1), moved(2))


def test_measuring_draws_no_number_of_the_callers() -> None:
    golden = PreparedModel(small_net(), (2, 8, 8)).golden("float32")
    before = torch.random.get_rng_state()
    yardstick.way_errors(small_net(), "fp32", golden)
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_way_measures_rounding_and_nothing_else() -> None:
    golden = PreparedModel(small_net(), (2, 8, 8)).golden("float32")
    errors = yardstick.way_errors(small_net(), "fp32", golden)
    assert len(errors) == 9
    size = golden.oracle.square().mean(dim=1).sqrt()
    for name, error in errors.items():
        assert 0 < float((error / size)[:16].max()) < 100 * 2.0**-23, name


def test_one_by_one_never_puts_samples_together() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert len(x) == 1, "one at a time"
            out: torch.Tensor = self.net(x)
            return out

    net = Alone().eval()
    golden = PreparedModel(net, (2, 8, 8)).golden("float32")
    errors = yardstick.way_errors(net, "fp32", golden, one_by_one=True)
    assert len(errors) == 7
    assert list(yardstick.way_errors(net, "fp32", golden)) == [
        name for name in errors if name.startswith("N")
    ]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (smallest, "constant"),
        (lambda: normalised(nn.InstanceNorm2d(16)), "zeros"),
    ],
)
@torch.no_grad()
def test_a_program_that_adds_in_order_is_right(make: Callable[[], nn.Module], kind: str) -> None:
    """PyTorch's own error is no measure there: it is small by luck."""
    net = seeded(make)
    golden = PreparedModel(net, SHAPE).golden("float32")
    with InOrder():
        output = net(golden.input)
    assert parity.judge(output, golden, yardstick.measure_bounds(net, "fp32", golden)).passed
    row = golden.kinds.index(kind)
    errors = yardstick.way_errors(net, "fp32", golden)
    own = max(float(errors[name][row]) for name in errors if name.startswith("N"))
    assert float(parity.errors(output, golden)[row]) > 3 * own


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_instance_norm_of_a_channel_without_variance_is_built(backend: str, tmp_path: Path) -> None:
    net = seeded(lambda: normalised(nn.InstanceNorm2d(16)))
    made = compile_module(net, CompileSpec(shape=SHAPE), backend=backend, root=tmp_path)
    assert made.manifest["status"] == "proved"


@torch.no_grad()
def test_the_wider_bound_of_a_hostile_sample_hides_no_fault() -> None:
    """Ordinary samples keep their bound: one weight off by 1e-4 is beyond it."""
    net = seeded(smallest)
    golden = PreparedModel(net, SHAPE).golden("float32")
    limit = yardstick.measure_bounds(net, "fp32", golden)
    wrong = seeded(smallest)
    wrong.get_parameter("0.weight")[0] *= 1 + 1e-4
    assert not parity.judge(wrong(golden.input), golden, limit).passed
