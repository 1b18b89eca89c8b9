"""Sound networks that OpenVINO 2026.4.1 computes wrongly; every other backend must pass them.

tests/test_known_openvino_breakages.py shows each fault without zoo.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.network import BATCH, Do, Network, head, net, stem

_WRONG = "refuse: OpenVINO is wrong"


def as_many_tokens_as_heads() -> nn.Module:
    """Attention with 4 heads over 4 tokens: OpenVINO takes the heads for the tokens."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).view(x.shape[0], 4, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.last(self.out(mixed.transpose(1, 2).reshape(x.shape[0], 4, 32)).mean(1))

    parts = {"patches": nn.Conv2d(3, 32, 16, stride=16), "qkv": nn.Linear(32, 96)}
    return Do(forward, **parts, out=nn.Linear(32, 16), last=head(16))


def kernel_as_large_as_the_image() -> nn.Module:
    """A factor for each pixel, then a 7x7 convolution of 7x7 pixels: OpenVINO multiplies the kernel
    by the factors in place of the pixels.
    """
    factors = 1 + torch.rand(7, 7)
    scaled = Do(lambda self, x: x * self.factors, factors=factors)
    return net(stem(), nn.AdaptiveAvgPool2d(7), scaled, nn.Conv2d(16, 16, 7, padding=3), nn.ReLU())


def largest_of_each_row() -> nn.Module:
    """The largest value of each channel, then a linear layer: OpenVINO computes that in int8 from
    other numbers.
    """
    largest = Do(lambda self, x: x.amax((2, 3)))
    return nn.Sequential(stem(), nn.ReLU(), largest, head(16))


def numbers_of_the_images() -> nn.Module:
    """The images of a batch are numbered: in int8 OpenVINO takes other scales behind that."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        numbers = torch.arange(x.shape[0], device=x.device)[:, None]
        return self.layers(x) + (numbers < 0).to(x.dtype)

    return Do(forward, layers=net(stem(), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU()))


TABLE = {
    "as_many_tokens_as_heads": Network(
        make=as_many_tokens_as_heads, truth=_WRONG, where=("openvino",)
    ),
    "kernel_as_large_as_the_image": Network(
        make=kernel_as_large_as_the_image,
        truth=_WRONG,
        # in int8 the factors are rounded before the kernel
        where=("openvino fp32", "openvino bf16", "openvino fp16"),
    ),
    "largest_of_each_row": Network(
        make=largest_of_each_row, truth=_WRONG, where=("openvino int8",)
    ),
    "numbers_of_the_images": Network(
        make=numbers_of_the_images,
        truth=_WRONG,
        where=("openvino int8",),
        batch=BATCH,
    ),
}
