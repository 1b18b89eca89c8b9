"""The golden samples: what the ordinary ones are, as floats and as bytes."""

from __future__ import annotations

import pytest
import torch

from compile.proof import parity, yardstick
from compile.proof.golden import choose_samples
from compile.proof.prepared import PreparedModel
from tests.support.networks import SHAPE, small_net


@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 1), (3, 5, 40)])
def test_every_other_synthetic_sample_is_an_image_of_0_to_1(shape: tuple[int, int, int]) -> None:
    x, kinds = choose_samples(shape, None)
    assert kinds == ("synthetic",) * 8 + ("normal",) * 8
    images, noise = x[:8:2], x[1:8:2]
    assert bool(torch.isfinite(x).all()) and float(images.min()) == 0 and float(images.max()) <= 1
    if shape != (1, 1, 1):
        assert torch.equal(images.amax((1, 2, 3)), torch.ones(4))
        assert bool((noise.amin((1, 2, 3)) < 0).all())


def test_real_samples_stay_as_they_are() -> None:
    real = torch.randn(8, *SHAPE)
    x, kinds = choose_samples(SHAPE, real)
    assert torch.equal(x[:8], real) and kinds[:8] == ("real",) * 8


def test_an_image_keeps_its_range_as_bytes() -> None:
    golden = PreparedModel(small_net(), SHAPE).golden("uint8")
    images = golden.input[:8:2].flatten(1)
    assert images.amin(1).tolist() == [0] * 4 and images.amax(1).tolist() == [255] * 4


@torch.no_grad()
def test_a_program_that_is_wrong_for_ordinary_images_alone_is_found() -> None:
    """Such as a kernel for what follows a ReLU, used at the input too."""
    net = small_net()
    golden = PreparedModel(net, SHAPE).golden("float32")
    bounds = yardstick.measure_bounds(net, "fp32", golden)

    def program(x: torch.Tensor) -> torch.Tensor:
        low, high = x.amin((1, 2, 3)), x.amax((1, 2, 3))
        image = (low >= 0) & (high <= 1) & (low < high)
        return net(x) + 0.01 * image[:, None]

    assert not parity.judge(net(golden.input), golden, bounds).reasons
    assert parity.judge(program(golden.input), golden, bounds).reasons
