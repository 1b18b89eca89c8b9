"""Sound networks with habits that look suspicious: caches, counters, hooks, writes in place."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.networks.network import BATCH, Do, Network, head, lively, net, stem


def dropout_layers() -> nn.Module:
    """Every kind of dropout as a layer, which evaluation turns off."""
    layers = nn.Dropout2d(0.3), nn.Conv2d(16, 16, 1), nn.SELU(), nn.AlphaDropout(0.3)
    return net(stem(), nn.ReLU(), *layers, nn.Dropout(0.5))


def dropout_of_nothing() -> nn.Module:
    """F.dropout that is always on, with a probability of 0."""
    return net(stem(), nn.ReLU(), Do(lambda self, x: F.dropout(x, 0.0, training=True)))


def dropout_that_knows() -> nn.Module:
    """F.dropout that is told whether the network trains, and depth that is dropped likewise."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(x, 0.3, training=self.training)
        if self.training:
            x = x * (torch.rand(x.shape[0], 1, 1, 1) > 0.1)
        return x

    return net(stem(), nn.ReLU(), Do(forward))


def cached_places() -> nn.Module:
    """A code of the places that the first call makes and keeps; all calls answer alike."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        if self.kept is None:
            self.kept = torch.linspace(-1, 1, x.shape[3], dtype=x.dtype)
        return x + self.kept.to(x.dtype)

    return net(stem(), Do(forward, kept=None), nn.Conv2d(16, 16, 1), nn.ReLU())


def calls_for_the_log() -> nn.Module:
    """A number in Python counts the calls, and no answer depends on it."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x.relu()

    return net(stem(), Do(forward, calls=0))


def written_in_place() -> nn.Module:
    """Values of its own that forward changes in place, by slices too."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x += 0.1
        x[:, :4] = x[:, 4:8].tanh()
        x[:, :, 0].mul_(2)
        return x.relu_()

    return net(Do(forward, conv=stem()), nn.Hardswish(inplace=True))


def buffer_not_saved() -> nn.Module:
    """A buffer that state_dict leaves out."""

    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", torch.hann_window(16)[:, None], persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.window

    return net(stem(), nn.ReLU(), Weighted())


def weight_used_backwards() -> nn.Module:
    """One weight for a convolution and for the transposed one behind it."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(self.conv(x).relu(), self.conv.weight, stride=2).tanh()

    return net(Do(forward, conv=stem()), nn.Conv2d(3, 16, 3), nn.ReLU())


def parametrised() -> nn.Module:
    """weight_norm and spectral_norm as parametrizations, which compute weights at every call."""
    one = parametrizations.weight_norm(nn.Conv2d(16, 16, 3, padding=1))
    other = parametrizations.spectral_norm(nn.Conv2d(16, 16, 1))
    return net(stem(), nn.ReLU(), one, nn.ReLU(), other, nn.ReLU())


class _Scale:
    """A hook that changes what a layer is given."""

    def __call__(self, module: nn.Module, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (0.5 * given[0],)


def hook_before_a_convolution() -> nn.Module:
    """A forward pre-hook on a convolution that a batch norm follows."""
    conv = nn.Conv2d(16, 16, 3, bias=False)
    conv.register_forward_pre_hook(_Scale())
    return net(stem(), nn.ReLU(), conv, lively(nn.BatchNorm2d(16)), nn.ReLU())


def double_inside() -> nn.Module:
    """A layer that computes in float64 and gives float32."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        exact = x.double()
        return (exact / (1 + exact.square()).sqrt()).to(x.dtype)

    return net(stem(), Do(forward), nn.Conv2d(16, 16, 1), nn.ReLU())


def neighbours_in_one_image() -> nn.Module:
    """Rolls, flips, sums and a sort inside each image, at a range of batches."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = x + x.roll(1, 1) + x.flip(3) - 0.1 * x.cumsum(1)
        return x.mean((2, 3)).sort(dim=1).values[:, :, None, None]

    return net(stem(), nn.ReLU(), Do(forward))


def batch_of_windows() -> nn.Module:
    """Windows of all images side by side in one batch, as attention does it, each by itself."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        cut = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        return self.conv(cut).amax((2, 3)).unflatten(0, (-1, 16)).mean(1)[:, :, None, None]

    return net(stem(), nn.ReLU(), Do(forward, conv=nn.Conv2d(16, 16, 3)))


def frozen_norm() -> nn.Module:
    """A batch norm of which training has never begun, frozen by hand, behind a bias."""
    norm = nn.BatchNorm2d(16, momentum=None)
    norm.requires_grad_(False)
    return net(stem(), norm, nn.ReLU(), nn.Conv2d(16, 16, 1), lively(nn.BatchNorm2d(16)), nn.ReLU())


def places_through_dropout() -> nn.Module:
    """Places go through layers of their own, with a dropout that is off between them."""
    layers = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 16))

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(self.places).mean(0)[:, None, None]

    return net(stem(), Do(forward, layers=layers, places=torch.randn(64, 2)), nn.ReLU())


def table_of_distances() -> nn.Module:
    """A table is looked up by distances that are computed as floats, as relative positions are."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        place = torch.arange(16) * 1.0
        far = (place[:, None] - place[None, :] + 15.0).long()
        return x + self.table[far]

    return net(stem(), Do(forward, table=nn.Parameter(torch.randn(31))), nn.ReLU())


def blocks_by_strides() -> nn.Module:
    """Cuts the image into blocks by the strides of one that lies in memory channel by channel."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        sizes, strides = (x.shape[0], 3, 8, 8, 4, 4), (3072, 1024, 128, 4, 32, 1)
        blocks = torch.as_strided(x, sizes, strides).permute(0, 1, 4, 5, 2, 3)
        return blocks.reshape(-1, 48, 8, 8)

    return net(Do(forward), nn.Conv2d(48, 16, 1), nn.ReLU())


def ensemble_by_vmap() -> nn.Module:
    """Four heads in one call of vmap, whose mean is the answer."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        features = self.stem(x).relu().mean((2, 3))
        each = torch.func.vmap(lambda weight, bias: F.linear(features, weight, bias))
        return each(self.weights, self.biases).mean(0)

    heads = [head(16) for _ in range(4)]
    weights = nn.Parameter(torch.stack([each.weight.detach() for each in heads]))
    biases = nn.Parameter(torch.stack([each.bias.detach() for each in heads]))
    return Do(forward, stem=stem(), weights=weights, biases=biases)


def mask_that_nobody_trains() -> nn.Module:
    """A mask of minus infinity that is a frozen parameter, as some checkpoints have it."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        looks = (0.1 * tokens @ tokens.transpose(1, 2) + self.mask).softmax(-1)
        return (looks @ tokens).transpose(1, 2).unflatten(2, (4, 4))

    mask = nn.Parameter(torch.full((16, 16), -torch.inf).triu(1), requires_grad=False)
    return net(nn.Conv2d(3, 16, 8, stride=8), Do(forward, mask=mask))


_BATCHED = (neighbours_in_one_image, batch_of_windows, cached_places, written_in_place)
_SINGLE = (
    *(dropout_layers, dropout_of_nothing, dropout_that_knows, calls_for_the_log, buffer_not_saved),
    *(
        places_through_dropout,
        table_of_distances,
        weight_used_backwards,
        parametrised,
        hook_before_a_convolution,
        double_inside,
        frozen_norm,
        blocks_by_strides,
        ensemble_by_vmap,
        mask_that_nobody_trains,
    ),
)
TABLE = {
    **{each.__name__: Network(make=each, batch=BATCH) for each in _BATCHED},
    **{each.__name__: Network(make=each) for each in _SINGLE},
}
