"""Networks that must be refused: images of a batch depend on each other, or it is no function."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.network import BATCH, Do, Network, head, net, stem

LEAD = 4.0
"""How far one class is ahead: so far that the mixing does not change the class."""


def _behind_relu(function: Callable[[Do, torch.Tensor], torch.Tensor]) -> nn.Module:
    return net(stem(), nn.ReLU(), Do(function), lead=LEAD)


def range_of_the_batch() -> nn.Module:
    """Features scaled to 0..1 by the range of the whole batch."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        low, high = x.flatten().min(), x.flatten().max()
        return (x - low) / (high - low + 1e-3)

    return _behind_relu(forward)


def mean_of_the_batch() -> nn.Module:
    """A tenth of the batch's mean image is subtracted."""
    return _behind_relu(lambda self, x: x - 0.1 * x.mean(0, keepdim=True))


def softmax_over_the_batch() -> nn.Module:
    """A softmax over dimension 0 where 1 was meant."""
    return _behind_relu(lambda self, x: x * (1 + x.mean((2, 3), keepdim=True).softmax(0)))


def norm_over_the_batch() -> nn.Module:
    """A layer norm over all dimensions."""
    return _behind_relu(lambda self, x: F.layer_norm(x, x.shape, eps=1e-3))


def batch_statistics() -> nn.Module:
    """F.batch_norm told to take the statistics of its batch."""
    return _behind_relu(lambda self, x: F.batch_norm(x, None, None, training=True))


def untracked_norm() -> nn.Module:
    """A batch norm that keeps no statistics, so that it takes those of its batch."""
    return net(stem(), nn.BatchNorm2d(16, track_running_stats=False), nn.ReLU(), lead=LEAD)


def norm_that_stays_in_training() -> nn.Module:
    """A batch norm that refuses to leave training mode."""

    class Always(nn.BatchNorm2d):
        def train(self, mode: bool = True) -> nn.BatchNorm2d:
            return super().train(True)

    return net(stem(), Always(16), nn.ReLU(), lead=LEAD)


def deviation_of_the_batch() -> nn.Module:
    """The deviation between the images of a batch as one more feature, as in GANs."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        spread = x.var(0, unbiased=False).sqrt().mean().expand(len(x), 1, *x.shape[2:])
        return torch.cat([x, spread], dim=1)

    return net(stem(), nn.ReLU(), Do(forward), nn.Conv2d(17, 16, 1), lead=LEAD)


def neighbour() -> nn.Module:
    """A little of the image before in the batch."""
    return _behind_relu(lambda self, x: x + 0.05 * x.roll(1, 0))


def mixup() -> nn.Module:
    """Mixup that was left on: each image with the one at the other end of the batch."""
    return net(Do(lambda self, x: 0.9 * x + 0.1 * x.flip(0)), stem(), nn.ReLU(), lead=LEAD)


def sums_over_the_batch() -> nn.Module:
    """Sums along the batch, so that the first image is right and all others are not."""
    return _behind_relu(lambda self, x: x.cumsum(0))


def sorted_batch() -> nn.Module:
    """Features sorted along the batch."""
    pooled = Do(lambda self, x: x.mean((2, 3)).sort(dim=0).values)
    return nn.Sequential(stem(), nn.ReLU(), pooled, head(16, LEAD))


def wrong_reshape() -> nn.Module:
    """Channels and batch exchanged by a view where a transpose was meant."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)).reshape(16, -1).transpose(0, 1)

    return nn.Sequential(stem(), nn.ReLU(), Do(forward), head(16, LEAD))


def faint_mixing() -> nn.Module:
    """A hundred-thousandth of the batch's mean, which every tolerance of 1e-4 hides."""
    return _behind_relu(lambda self, x: x + 1e-5 * x.mean(0, keepdim=True))


def size_of_the_batch() -> nn.Module:
    """Divided by the number of images, as a loss would be."""
    return _behind_relu(lambda self, x: x / len(x))


def other_branch_for_one() -> nn.Module:
    """An image that comes alone is not scaled."""
    return _behind_relu(lambda self, x: x if len(x) == 1 else 1.1 * x)


def other_in_double() -> nn.Module:
    """Another factor in float64 than in float32."""
    return _behind_relu(lambda self, x: x * (1.0 if x.dtype == torch.float64 else 1.01))


def logarithm_of_less_than_nothing() -> nn.Module:
    """The logarithm of features that may be negative."""
    return net(stem(), Do(lambda self, x: x.log()), lead=LEAD)


def overflowing() -> nn.Module:
    """exp of features times a hundred, which overflows."""
    return net(stem(), Do(lambda self, x: (100 * x).exp().exp()), lead=LEAD)


def undecided_branch() -> nn.Module:
    """A branch in Python that depends on the image."""
    return _behind_relu(lambda self, x: x if x.mean() > 0.3 else -x)


def class_number() -> nn.Module:
    """The number of the class instead of its scores."""
    return nn.Sequential(net(stem(), nn.ReLU()), Do(lambda self, x: x.argmax(1)))


def without_a_batch() -> nn.Module:
    """Scores, and the places of the anchors, which are the same for all images."""
    anchors = Do(lambda self, x: (x, self.anchors), anchors=torch.rand(9, 4))
    return nn.Sequential(net(stem(), nn.ReLU()), anchors)


def mixed_in_one_output() -> nn.Module:
    """Two outputs, of which one depends on the other images of the batch."""
    mixed = Do(lambda self, x: {"own": x, "mixed": x - x.mean(0, keepdim=True)})
    return nn.Sequential(stem(), nn.ReLU(), mixed)


def drawn_in_one_output() -> nn.Module:
    """Two outputs, of which one is noisy."""
    noisy = Do(lambda self, x: {"own": x, "noisy": x.mean((2, 3)) + 1e-3 * torch.randn(16)})
    return nn.Sequential(stem(), nn.ReLU(), noisy)


def number_and_scores() -> nn.Module:
    """Scores, and beside them the number of the class, which is not float32."""
    return nn.Sequential(net(stem(), nn.ReLU()), Do(lambda self, x: (x, x.argmax(1))))


def a_string() -> nn.Module:
    """A dict that holds more than tensors."""
    return nn.Sequential(net(stem(), nn.ReLU()), Do(lambda self, x: {"out": x, "kind": "scores"}))


def written_into() -> nn.Module:
    """The image itself is changed in place."""
    return net(Do(lambda self, x: x.clamp_(-1, 1)), stem(), nn.ReLU())


def broken_weight() -> nn.Module:
    """One weight is NaN."""
    network = net(stem(), nn.ReLU())
    with torch.no_grad():
        network[0].weight[3, 1, 2, 2] = torch.nan
    return network


def one_class_for_all() -> nn.Module:
    """A head of zeros: no class is ahead of another."""
    network = net(stem(), nn.ReLU())
    nn.init.zeros_(network[-1].weight)
    nn.init.zeros_(network[-1].bias)
    return network


_MIXING = {
    each.__name__: Network(make=each, batch=BATCH, truth="refuse: images depend on each other")
    for each in (
        *(range_of_the_batch, mean_of_the_batch, softmax_over_the_batch, norm_over_the_batch),
        *(batch_statistics, untracked_norm, norm_that_stays_in_training, deviation_of_the_batch),
        *(
            mixed_in_one_output,
            neighbour,
            mixup,
            sums_over_the_batch,
            sorted_batch,
            wrong_reshape,
            faint_mixing,
        ),
        *(mixed_in_one_output, size_of_the_batch, other_branch_for_one),
    )
}
_OTHERS = {
    each.__name__: Network(make=each, truth="refuse: it is not one function of one image")
    for each in (
        *(logarithm_of_less_than_nothing, overflowing, undecided_branch),
        *(class_number, written_into, broken_weight, one_class_for_all, without_a_batch),
        *(drawn_in_one_output, number_and_scores, a_string),
    )
}
_EITHER = Network(make=other_in_double, truth="either: what is compiled is its graph of float32")
TABLE = {**_MIXING, **_OTHERS, "other_in_double": _EITHER}
