"""Sound networks of other layers: norms, attention, gates, activations, heads and odd operators."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.network import BATCH, Do, Network, head, lively, net, stem


def instance_norm_with_affine() -> nn.Module:
    """An instance norm with scale and shift behind a ReLU, and a convolution without bias."""
    norm = nn.InstanceNorm2d(16, affine=True)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    return net(stem(), nn.ReLU(), norm, nn.Conv2d(16, 16, 3, bias=False), nn.ReLU())


def group_norms_behind_relu() -> nn.Module:
    """Group norms of four groups and of one, each behind a ReLU."""
    layers = nn.GroupNorm(4, 16), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.GroupNorm(1, 16)
    return net(stem(), nn.ReLU(), *layers, nn.ReLU())


def layer_norm_of_channels() -> nn.Module:
    """A block of ConvNeXt: depthwise 7x7, layer norm over channels, GELU, layer scale."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(F.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)

    spatial = nn.Conv2d(16, 16, 7, padding=3, groups=16)
    linear = {"wide": nn.Linear(16, 64), "narrow": nn.Linear(64, 16)}
    scale = nn.Parameter(0.1 * torch.ones(16))
    return net(stem(), Do(forward, spatial=spatial, norm=nn.LayerNorm(16), scale=scale, **linear))


def layer_norm_of_everything() -> nn.Module:
    """A layer norm over channels, rows and columns at once."""
    return net(stem(), nn.ReLU(), nn.LayerNorm([16, 16, 16]), nn.Conv2d(16, 16, 1), nn.ReLU())


def root_mean_square_norm() -> nn.Module:
    """Features divided by their root mean square, by rsqrt."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.scale

    scale = nn.Parameter(0.5 + torch.rand(16, 1, 1))
    return net(stem(), nn.ReLU(), Do(forward, scale=scale), nn.Conv2d(16, 16, 1), nn.ReLU())


def standardised_image() -> nn.Module:
    """The image loses its mean and is divided by its deviation."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((1, 2, 3), keepdim=True)
        return (x - mean) / (x.std((1, 2, 3), keepdim=True) + 1e-3)

    return net(Do(forward), stem(), nn.ReLU())


class _Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        deviation = self.weight.var((1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) * torch.rsqrt(deviation + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


def standardised_weights() -> nn.Module:
    """A convolution that standardises its weights at every call, and a group norm."""
    layers = _Standardised(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU()
    return net(stem(), nn.ReLU(), *layers)


def squeeze_and_excite() -> nn.Module:
    """A gate for each channel, made from their means."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        gate = self.up(self.down(x.mean((2, 3), keepdim=True)).relu())
        return x * gate.sigmoid()

    gate = Do(forward, down=nn.Conv2d(16, 4, 1), up=nn.Conv2d(4, 16, 1))
    return net(stem(), nn.SiLU(), gate, nn.Conv2d(16, 16, 3), nn.Hardswish())


def gate_along_channels() -> nn.Module:
    """A gate by a one-dimensional convolution along the channels."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        gate = self.along(x.mean((2, 3))[:, None]).sigmoid()
        return x * gate.transpose(1, 2)[..., None]

    along = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    return net(stem(), nn.ReLU(), Do(forward, along=along))


def weighted_place() -> nn.Module:
    """A softmax over all places says where to look."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        where = self.look(x).flatten(2).softmax(-1)
        return (x.flatten(2) * where).sum(-1)

    pooled = Do(forward, look=nn.Conv2d(16, 1, 1))
    return nn.Sequential(stem(), nn.ReLU(), pooled, head(16))


def logarithms() -> nn.Module:
    """log, exp and logsumexp inside, log_softmax at the end."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = torch.log1p(self.conv(x).abs())
        pooled = torch.logsumexp(x, (2, 3)) + torch.exp(-x).mean((2, 3))
        return F.log_softmax(self.last(pooled), dim=1)

    return Do(forward, conv=stem(), last=head(16))


def cosine_head() -> nn.Module:
    """Features and class vectors of length one, times a temperature."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        features = F.normalize(self.body(x).mean((2, 3)), dim=1)
        return 20 * features @ F.normalize(self.classes, dim=1).T

    body = nn.Sequential(stem(), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.ReLU())
    return Do(forward, body=body, classes=nn.Parameter(torch.randn(10, 24)))


def generalised_mean() -> nn.Module:
    """The third root of the mean of cubes."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=1e-4).pow(self.power).mean((2, 3)).pow(1 / self.power)

    return nn.Sequential(
        stem(), nn.ReLU(), Do(forward, power=nn.Parameter(torch.tensor(3.0))), head(16)
    )


def mean_and_deviation() -> nn.Module:
    """Mean, deviation and Euclidean norm of each channel as features."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        deviation = (x.var((2, 3)) + 1e-5).sqrt()
        return torch.cat([x.mean((2, 3)), deviation, x.flatten(2).norm(dim=2) / 16], dim=1)

    return nn.Sequential(stem(), nn.ReLU(), Do(forward), head(48))


def largest_few() -> nn.Module:
    """The mean of the five largest pixels of each channel."""
    pooled = Do(lambda self, x: x.flatten(2).topk(5, dim=2).values.mean(2))
    return nn.Sequential(stem(), nn.ReLU(), pooled, head(16))


def activations() -> nn.Module:
    """Eight activations, one behind each convolution."""
    kinds = [nn.Hardswish(), nn.GELU("tanh"), nn.Mish(), nn.Softplus(), nn.SELU()]
    kinds += [nn.Hardsigmoid(), nn.Softsign(), nn.PReLU(16)]
    layers = [each for kind in kinds for each in (nn.Conv2d(16, 16, 1), kind)]
    return net(stem(), *layers)


def gated_units() -> nn.Module:
    """GLU: half of the channels open and close the other half; and the larger of two."""
    larger = Do(lambda self, x: x.view(len(x), 8, 2, *x.shape[2:]).amax(2))
    return net(stem(32), nn.GLU(dim=1), nn.Conv2d(16, 16, 3), larger, width=8)


def waves_as_places() -> nn.Module:
    """Sines and cosines of the places, kept in a buffer, of frequencies up to a thousand."""
    angles = torch.arange(256.0).view(1, 16, 16) * 1000 ** -torch.linspace(0, 1, 8).view(8, 1, 1)
    code = torch.cat([angles.sin(), angles.cos()])
    return net(
        stem(), Do(lambda self, x: x + self.code, code=code), nn.Conv2d(16, 16, 1), nn.ReLU()
    )


def running_sums() -> nn.Module:
    """Sums along the rows, where later values pile up, and a comparison that chooses."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        total = x.cumsum(3) / 16
        return torch.where(total > x, total.tanh(), 0.1 * x)

    return net(stem(), Do(forward), nn.Conv2d(16, 16, 1), nn.ReLU())


def windows() -> nn.Module:
    """Windows cut out by unfold, one linear layer for all of them."""
    layers = nn.Unfold(4, stride=4), Do(lambda self, x: x.transpose(1, 2)), nn.Linear(48, 32)
    mean = Do(lambda self, x: x.amax(1))
    return nn.Sequential(*layers, nn.ReLU(), mean, head(32))


def dense_block() -> nn.Module:
    """Features are appended to those of a max pool, then normalised: a DenseNet's block."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.first(x).relu())
        more = self.more(self.before(x).relu())
        return self.last(self.after(torch.cat([x, more], 1)).relu()).relu().mean((2, 3))

    parts = {"first": stem(), "pool": nn.MaxPool2d(3, 2, 1), "before": lively(nn.BatchNorm2d(16))}
    parts |= {"more": nn.Conv2d(16, 8, 3, padding=1), "after": lively(nn.BatchNorm2d(24))}
    return nn.Sequential(Do(forward, **parts, last=nn.Conv2d(24, 16, 1)), head(16))


TABLE = {
    "dense_block": Network(make=dense_block),
    "instance_norm_with_affine": Network(make=instance_norm_with_affine),
    "group_norms_behind_relu": Network(make=group_norms_behind_relu),
    "layer_norm_of_channels": Network(make=layer_norm_of_channels),
    "layer_norm_of_everything": Network(make=layer_norm_of_everything),
    "root_mean_square_norm": Network(make=root_mean_square_norm),
    "standardised_image": Network(make=standardised_image),
    "standardised_weights": Network(make=standardised_weights),
    "squeeze_and_excite": Network(make=squeeze_and_excite, batch=BATCH),
    "gate_along_channels": Network(make=gate_along_channels),
    "weighted_place": Network(make=weighted_place),
    "logarithms": Network(make=logarithms),
    "cosine_head": Network(make=cosine_head, batch=BATCH),
    "generalised_mean": Network(make=generalised_mean),
    "mean_and_deviation": Network(make=mean_and_deviation),
    "largest_few": Network(make=largest_few),
    "activations": Network(make=activations),
    "gated_units": Network(make=gated_units),
    "waves_as_places": Network(make=waves_as_places),
    "running_sums": Network(make=running_sums),
    "windows": Network(make=windows, truth="refuse: OpenVINO is wrong", where=("openvino int8",)),
}
