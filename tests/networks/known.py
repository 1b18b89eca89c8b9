"""Kinds of networks that were refused without reason, or accepted without right, once."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.network import BATCH, Do, Network, head, lively, net, stem


def functional_dropout() -> nn.Module:
    """F.dropout drops in evaluation too, unless it is told not to."""
    return net(stem(), nn.ReLU(), Do(lambda self, x: F.dropout(x, 0.2)), lead=5.0)


def added_noise() -> nn.Module:
    """A layer adds normal noise at every call."""
    return net(stem(), nn.ReLU(), Do(lambda self, x: x + 0.1 * torch.randn_like(x)), lead=4.0)


def running_mean_in_eval() -> nn.Module:
    """A buffer follows the brightness of the images that were seen, and scales the features."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.seen.mul_(0.9).add_(0.1 * x.mean().abs() + 0.01)
        return x * (1 + self.seen)

    return net(Do(forward, seen=torch.zeros(())), stem(), nn.ReLU(), lead=5.0)


def attention_over_the_batch() -> nn.Module:
    """nn.MultiheadAttention takes the first dimension for the tokens, and here it is the batch."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
        return self.last((tokens + self.mix(tokens, tokens, tokens)[0]).mean(1))

    parts = {"patches": nn.Conv2d(3, 24, 8, stride=8), "norm": nn.LayerNorm(24)}
    return Do(forward, **parts, mix=nn.MultiheadAttention(24, 3), last=head(24, 3.0))


def smallest() -> nn.Module:
    """A convolution, a mean over 256 pixels and a linear layer: rounding adds up in the mean."""
    return nn.Sequential(
        stem(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def smallest_with_norm() -> nn.Module:
    """The same with eight channels and a batch norm."""
    return net(stem(8), lively(nn.BatchNorm2d(8)), nn.ReLU(), width=8)


def instance_norm_behind_relu() -> nn.Module:
    """A channel of one value has no variance, and its rounding is multiplied by 316."""
    return net(stem(), nn.ReLU(), nn.InstanceNorm2d(16), nn.Conv2d(16, 24, 1), nn.ReLU(), width=24)


def head_for_training() -> nn.Module:
    """An auxiliary classifier that only training calls."""

    def forward(self: Do, x: torch.Tensor) -> object:
        x = self.body(x)
        answer = self.main(x.mean((2, 3)))
        return (answer, self.aside(x.amax((2, 3)))) if self.training else answer

    return Do(forward, body=nn.Sequential(stem(), nn.ReLU()), main=head(16), aside=head(16))


def batch_norm_behind_linear() -> nn.Module:
    """A batch norm of features, which compilers fold into the linear layer before it."""
    features = nn.Sequential(stem(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    middle = nn.Linear(16, 24, bias=False), lively(nn.BatchNorm1d(24)), nn.ReLU()
    return nn.Sequential(features, *middle, head(24))


def batch_norm_without_affine() -> nn.Module:
    """A batch norm without scale and shift."""
    return net(stem(bias=False), lively(nn.BatchNorm2d(16, affine=False)), nn.ReLU())


def scale_and_shift() -> nn.Module:
    """A factor and a summand for each channel behind a convolution."""
    scale = nn.Parameter(0.5 + torch.rand(1, 16, 1, 1))
    shift = nn.Parameter(0.2 * torch.randn(1, 16, 1, 1))
    affine = Do(lambda self, x: x * self.scale + self.shift, scale=scale, shift=shift)
    return net(stem(), affine, nn.ReLU())


def places_made_in_forward() -> nn.Module:
    """Coordinates that forward makes in float32 whatever the dtype of the image."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        rows = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1).expand(1, 1, *x.shape[2:])
        columns = torch.linspace(-1, 1, x.shape[3]).view(1, 1, 1, -1).expand(1, 1, *x.shape[2:])
        return x + self.code(torch.cat([rows, columns], dim=1))

    return net(stem(), Do(forward, code=nn.Conv2d(2, 16, 1)), nn.ReLU())


def float_in_forward() -> nn.Module:
    """A layer that is always given float32."""
    mixed = Do(lambda self, x: self.mix(x.float()), mix=nn.Conv2d(16, 16, 3, padding=1))
    return net(stem(), nn.ReLU(), mixed)


class _Negate:
    """A hook that changes what a layer gives."""

    def __call__(self, module: nn.Module, given: object, output: torch.Tensor) -> torch.Tensor:
        return -1.5 * output


def hook_on_a_norm() -> nn.Module:
    """A forward hook on a batch norm, which folding must not lose."""
    norm = lively(nn.BatchNorm2d(16))
    norm.register_forward_hook(_Negate())
    return net(stem(bias=False), norm, nn.ReLU())


def old_weight_norm() -> nn.Module:
    """torch.nn.utils.weight_norm, whose module cannot be deep-copied."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return net(nn.utils.weight_norm(stem()), nn.ReLU())


def never_called() -> nn.Module:
    """Lazy layers without weights yet."""
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))


def scripted() -> nn.Module:
    """A TorchScript module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(
            nn.Sequential(stem(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(16)).eval()
        )


def insists_on_float32() -> nn.Module:
    """forward asserts the dtype of its image."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.float32, "give float32"
        return x

    return net(Do(forward), stem(), nn.ReLU())


def largest_of_all() -> nn.Module:
    """The image is divided by its largest value, taken over all dimensions."""
    return net(Do(lambda self, x: x / x.abs().amax().clamp_min(1e-6)), stem(), nn.ReLU())


class _Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net(stem(), nn.ReLU())

    def forward(self, x: torch.Tensor, *, factor: torch.Tensor) -> torch.Tensor:
        return self.body(x * factor)


def required_keyword() -> nn.Module:
    """forward has a keyword without default."""
    return _Keyword()


def padded_pool_rounded_up() -> nn.Module:
    """An average pool that counts its padding and rounds its size up.

    OpenVINO divides wrongly, and so does ONNX Runtime in int8.
    """
    pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=True)
    return net(stem(), nn.ReLU(), pool, nn.Conv2d(16, 16, 1))


TABLE = {
    "functional_dropout": Network(make=functional_dropout, truth="refuse: it drops at random"),
    "added_noise": Network(make=added_noise, truth="refuse: it adds noise"),
    "running_mean_in_eval": Network(
        make=running_mean_in_eval, truth="refuse: a call changes a buffer"
    ),
    "attention_over_the_batch": Network(
        make=attention_over_the_batch, batch=BATCH, truth="refuse: images depend on each other"
    ),
    "smallest": Network(make=smallest),
    "smallest_with_norm": Network(make=smallest_with_norm),
    "instance_norm_behind_relu": Network(make=instance_norm_behind_relu),
    "head_for_training": Network(make=head_for_training),
    "batch_norm_behind_linear": Network(make=batch_norm_behind_linear),
    "batch_norm_without_affine": Network(make=batch_norm_without_affine),
    "scale_and_shift": Network(make=scale_and_shift),
    "places_made_in_forward": Network(make=places_made_in_forward),
    "float_in_forward": Network(make=float_in_forward),
    "hook_on_a_norm": Network(make=hook_on_a_norm),
    "old_weight_norm": Network(make=old_weight_norm),
    "never_called": Network(make=never_called, truth="refuse: it has no weights yet"),
    "scripted": Network(make=scripted, truth="either: there is no module to export"),
    "insists_on_float32": Network(make=insists_on_float32, truth="either: no oracle in float64"),
    "largest_of_all": Network(make=largest_of_all, truth="either: ONNX lacks the operator"),
    "required_keyword": Network(make=required_keyword, truth="refuse: no value for the keyword"),
    "padded_pool_rounded_up": Network(
        make=padded_pool_rounded_up,
        truth="refuse: it is divided wrongly",
        where=("openvino", "onnx int8"),
    ),
}
