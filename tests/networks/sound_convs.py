"""Sound networks of convolutions: all kinds of them, pools, paddings, and traps for folding."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.network import Do, Network, head, lively, net, stem


def mean_of_many_pixels() -> nn.Module:
    """One convolution without stride, then the mean of 4,096 pixels."""
    return net(stem(8, stride=1), nn.ReLU(), width=8)


def mean_by_hand() -> nn.Module:
    """A sum over 2,304 pixels that is divided afterwards."""
    divided = Do(lambda self, x: x.sum((2, 3)) / (x.shape[2] * x.shape[3]))
    return nn.Sequential(stem(12, stride=1), nn.SiLU(), divided, head(12))


def deep_and_plain() -> nn.Module:
    """Twenty convolutions in a row, without norms and shortcuts."""
    layers: list[nn.Module] = [stem(), nn.ReLU()]
    for _ in range(20):
        layer = nn.Conv2d(16, 16, 3, padding=1)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU()]
    return net(*layers)


def deep_with_norms() -> nn.Module:
    """Twelve convolutions with batch norms, each of which is folded."""
    layers: list[nn.Module] = [stem(), nn.ReLU()]
    for _ in range(12):
        layers += [nn.Conv2d(16, 16, 3, padding=1, bias=False), lively(nn.BatchNorm2d(16))]
        layers += [nn.ReLU()]
    return net(*layers)


def depthwise_separable() -> nn.Module:
    """Depthwise and pointwise convolutions in turns, with ReLU6."""
    layers: list[nn.Module] = [stem(), nn.ReLU6()]
    for width in (16, 24):
        layers += [nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)]
        layers += [lively(nn.BatchNorm2d(width)), nn.ReLU6(), nn.Conv2d(width, 24, 1)]
    return net(*layers, width=24)


def _shuffle(self: Do, x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def grouped_and_shuffled() -> nn.Module:
    """Grouped convolutions with a channel shuffle between them."""
    first, second = (nn.Conv2d(16, 16, 3, padding=1, groups=4) for _ in range(2))
    return net(stem(), first, nn.ReLU(), Do(_shuffle, groups=4), second, nn.ReLU())


def dilated() -> nn.Module:
    """Dilations of 2, 3 and 5, whose edges see padding alone."""
    layers = [
        each
        for step in (2, 3, 5)
        for each in (nn.Conv2d(16, 16, 3, padding=step, dilation=step), nn.ELU())
    ]
    return net(stem(), *layers)


def transposed() -> nn.Module:
    """Transposed convolutions with output padding and a batch norm behind one."""
    up = nn.ConvTranspose2d(16, 12, 3, stride=2, padding=1, output_padding=1, bias=False)
    more = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1, groups=4)
    layers = stem(), nn.ReLU(), up, lively(nn.BatchNorm2d(12)), nn.ReLU(), more, nn.ReLU()
    return net(*layers, width=8)


def odd_kernels() -> nn.Module:
    """Kernels of 1x7, 7x1, 2x2 and 5x3, with `same` padding."""
    sizes = (1, 7), (7, 1), (2, 2), (5, 3)
    return net(stem(), *(nn.Conv2d(16, 16, size, padding="same") for size in sizes), nn.ReLU())


def paddings() -> nn.Module:
    """Reflected, replicated and circular padding, a batch norm behind each."""
    layers: list[nn.Module] = [stem()]
    for mode in ("reflect", "replicate", "circular"):
        layers += [nn.Conv2d(16, 16, 3, padding=2, padding_mode=mode, bias=False)]
        layers += [lively(nn.BatchNorm2d(16)), nn.ReLU()]
    return net(*layers)


def pool_rounded_up() -> nn.Module:
    """A max pool that rounds its size up, on an odd size."""
    pool = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
    return net(stem(), nn.ReLU(), pool, nn.Conv2d(16, 16, 2), nn.MaxPool2d(2, ceil_mode=True))


def pool_without_padding_counted() -> nn.Module:
    """An average pool whose padding does not count."""
    pool = nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)
    return net(stem(), nn.ReLU(), pool, nn.Conv2d(16, 16, 1), nn.ReLU())


def uneven_bins() -> nn.Module:
    """An adaptive average pool of 16 pixels into 5 bins."""
    layers = stem(), nn.ReLU(), nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(400, 24)
    return nn.Sequential(*layers, nn.ReLU(), head(24))


def global_max_pool() -> nn.Module:
    """The largest pixel of each channel."""
    layers = stem(), nn.GELU(), nn.Conv2d(16, 24, 3, padding=1), nn.AdaptiveMaxPool2d(1)
    return nn.Sequential(*layers, nn.Flatten(), head(24))


def pyramid_of_pools() -> nn.Module:
    """Pools of three sizes, side by side."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([F.adaptive_avg_pool2d(x, size).flatten(1) for size in (1, 2, 4)], dim=1)

    return nn.Sequential(stem(8), nn.ReLU(), Do(forward), head(8 * 21))


def bilinear_merge() -> nn.Module:
    """A coarse map is enlarged bilinearly and added to a fine one."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        fine = self.fine(x)
        coarse = F.interpolate(self.coarse(fine), scale_factor=4.0, mode="bilinear")
        return (fine + coarse).relu()

    return net(Do(forward, fine=stem(), coarse=nn.Conv2d(16, 16, 5, stride=4, padding=2)))


def aligned_and_nearest() -> nn.Module:
    """One map enlarged with aligned corners, one by its nearest pixels."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        one = F.interpolate(self.one(x), size=(32, 32), mode="bilinear", align_corners=True)
        return torch.cat([one, F.interpolate(self.other(x), scale_factor=2.0)], dim=1)

    return net(Do(forward, one=stem(8), other=stem(8)), nn.Conv2d(16, 16, 3), nn.ReLU())


def pixel_shuffle() -> nn.Module:
    """Space to depth and back."""
    inner = nn.Conv2d(64, 32, 1), nn.ReLU(), nn.PixelShuffle(2)
    return net(stem(), nn.PixelUnshuffle(2), *inner, nn.Conv2d(8, 16, 3), nn.ReLU())


def many_branches() -> nn.Module:
    """Four branches of different kernels, concatenated."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1).relu()

    pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(16, 8, 1))
    own = [nn.Conv2d(16, 8, size, padding=size // 2) for size in (1, 3, 5)]
    return net(stem(), nn.ReLU(), Do(forward, branches=nn.ModuleList([*own, pool])), width=32)


def tied_layers() -> nn.Module:
    """One convolution three times in a row."""
    again = nn.Conv2d(16, 16, 3, padding=1)
    return net(stem(), again, nn.Tanh(), again, nn.Tanh(), again, nn.Tanh())


def tied_weights() -> nn.Module:
    """Two layers that share one weight, each with its own bias and batch norm."""
    one, other = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
    other.weight = one.weight
    norms = [lively(nn.BatchNorm2d(16)) for _ in range(2)]
    return net(stem(), one, norms[0], nn.ReLU(), other, norms[1], nn.ReLU())


def two_norms_of_one_convolution() -> nn.Module:
    """A convolution whose output two batch norms read, so that neither may be folded."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.one(x).relu() + self.other(x).tanh()

    norms = {"one": lively(nn.BatchNorm2d(16)), "other": lively(nn.BatchNorm2d(16))}
    return net(Do(forward, conv=stem(bias=False), **norms))


def norm_and_shortcut() -> nn.Module:
    """A convolution that feeds a batch norm and, as it is, a shortcut."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return (x + self.norm(x)).relu()

    return net(Do(forward, conv=stem(bias=False), norm=lively(nn.BatchNorm2d(16))))


def norm_before_convolution() -> nn.Module:
    """Batch norm, ReLU, convolution: the zeros of the padding come after the shift."""
    layers = [lively(nn.BatchNorm2d(16)), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
    bare = [lively(nn.BatchNorm2d(16)), nn.Conv2d(16, 16, 3, padding=1)]
    return net(stem(), *layers, *bare, nn.ReLU())


def norm_of_small_variance() -> nn.Module:
    """A batch norm that enlarges some channels a hundredfold and silences others."""
    norm = lively(nn.BatchNorm2d(16))
    with torch.no_grad():
        norm.running_var[:4] = 1e-4
        norm.weight[4:8] = 0.0
    return net(stem(bias=False), norm, nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU())


class _Doubled(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(super().forward(x), 0.1) * 2


def norm_that_does_more() -> nn.Module:
    """A subclass of the batch norm that ends in an activation."""
    return net(stem(bias=False), lively(_Doubled(16)), nn.Conv2d(16, 16, 1), nn.ReLU())


TABLE = {
    "mean_of_many_pixels": Network(make=mean_of_many_pixels, shape=(3, 64, 64)),
    "mean_by_hand": Network(make=mean_by_hand, shape=(3, 48, 48)),
    "deep_and_plain": Network(make=deep_and_plain),
    "deep_with_norms": Network(make=deep_with_norms),
    "depthwise_separable": Network(make=depthwise_separable),
    "grouped_and_shuffled": Network(make=grouped_and_shuffled),
    "dilated": Network(make=dilated),
    "transposed": Network(make=transposed),
    "odd_kernels": Network(make=odd_kernels),
    "paddings": Network(make=paddings),
    "pool_rounded_up": Network(make=pool_rounded_up, shape=(3, 31, 29)),
    "pool_without_padding_counted": Network(make=pool_without_padding_counted),
    "uneven_bins": Network(make=uneven_bins),
    "global_max_pool": Network(make=global_max_pool),
    "pyramid_of_pools": Network(make=pyramid_of_pools),
    "bilinear_merge": Network(make=bilinear_merge),
    "aligned_and_nearest": Network(make=aligned_and_nearest),
    "pixel_shuffle": Network(make=pixel_shuffle),
    "many_branches": Network(make=many_branches),
    "tied_layers": Network(make=tied_layers),
    "tied_weights": Network(make=tied_weights),
    "two_norms_of_one_convolution": Network(make=two_norms_of_one_convolution),
    "norm_and_shortcut": Network(make=norm_and_shortcut),
    "norm_before_convolution": Network(make=norm_before_convolution),
    "norm_of_small_variance": Network(make=norm_of_small_variance),
    "norm_that_does_more": Network(make=norm_that_does_more),
}
