"""Networks that must be refused: they draw at random, or their calls leave something behind."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy
import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.network import Do, Network, head, net, stem

LEAD = 5.0
"""How far one class is ahead: so far that chance does not change the class."""

Function = Callable[[Do, torch.Tensor], torch.Tensor]


def _behind_relu(function: Function, **parts: object) -> nn.Module:
    return net(stem(), nn.ReLU(), Do(function, **parts), lead=LEAD)


def random_mask() -> nn.Module:
    """A mask of the pixels that rand draws."""
    return _behind_relu(lambda self, x: x * (torch.rand_like(x) > 0.1))


def bernoulli_channels() -> nn.Module:
    """Whole channels left out by bernoulli."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        kept = torch.bernoulli(torch.full((len(x), 16, 1, 1), 0.9, dtype=x.dtype))
        return x * kept

    return _behind_relu(forward)


def noise_in_place() -> nn.Module:
    """Noise that normal_ writes into a new tensor."""
    return _behind_relu(lambda self, x: x + torch.zeros_like(x).normal_(0, 0.05))


def faint_noise() -> nn.Module:
    """Noise of a hundred-thousandth, which every tolerance of 1e-4 hides."""
    return net(stem(), nn.ReLU(), Do(lambda self, x: x + 1e-5 * torch.randn_like(x)))


def dropped_channels() -> nn.Module:
    """F.dropout2d with its default."""
    return _behind_relu(lambda self, x: F.dropout2d(x, 0.1, training=True))


def alpha_dropout() -> nn.Module:
    """Alpha dropout, always on."""
    return _behind_relu(lambda self, x: F.alpha_dropout(x, 0.05, training=True))


def dropped_branch() -> nn.Module:
    """A branch that takes part in nine of ten calls, as in training with stochastic depth."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x) * (torch.rand(len(x), 1, 1, 1) < 0.9)

    return _behind_relu(forward, branch=nn.Conv2d(16, 16, 1))


def dropout_that_stays() -> nn.Module:
    """Monte-Carlo dropout: a layer that refuses to leave training mode."""

    class Always(nn.Dropout):
        def train(self, mode: bool = True) -> nn.Dropout:
            return super().train(True)

    return net(stem(), nn.ReLU(), Always(0.1), lead=LEAD)


def dropped_attention() -> nn.Module:
    """scaled_dot_product_attention, whose dropout_p does not know of evaluation."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        q = self.patches(x).flatten(2).transpose(1, 2)
        return self.last(F.scaled_dot_product_attention(q, q, q, dropout_p=0.1).mean(1))

    return Do(forward, patches=nn.Conv2d(3, 24, 8, stride=8), last=head(24, LEAD))


def random_slope() -> nn.Module:
    """rrelu that draws its slopes as in training."""
    return net(stem(), Do(lambda self, x: F.rrelu(x, training=True)), lead=LEAD)


def random_gate() -> nn.Module:
    """A gate by gumbel_softmax."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return x * F.gumbel_softmax(self.gate(x.mean((2, 3))), tau=2.0)[:, :, None, None]

    return _behind_relu(forward, gate=nn.Linear(16, 16))


def shuffled_channels() -> nn.Module:
    """The channels of one group in an order of chance."""
    return _behind_relu(lambda self, x: torch.cat([x[:, :14], x[:, 14 + torch.randperm(2)]], 1))


def sampled_place() -> nn.Module:
    """Features of a few places that multinomial draws."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2)
        place = torch.multinomial(torch.ones(x.shape[2]), 32)
        return x[:, :, place].mean(2)

    return nn.Sequential(stem(), nn.ReLU(), Do(forward), head(16, LEAD))


def random_crop() -> nn.Module:
    """The image rolled by a few pixels of chance, as augmentation does."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        by = torch.randint(0, 3, (1,))
        rows = (torch.arange(32) + by) % 32
        return x[:, :, rows]

    return net(Do(forward), stem(), nn.ReLU(), nn.MaxPool2d(4), lead=LEAD)


def fractional_pool() -> nn.Module:
    """A fractional max pool, whose regions are drawn at each call."""
    return net(stem(), nn.ReLU(), nn.FractionalMaxPool2d(2, output_ratio=0.7), lead=LEAD)


def own_generator() -> nn.Module:
    """Noise from a generator of the layer's own, whatever torch's seed is."""

    class Noise(nn.Module):
        generator = torch.Generator().manual_seed(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0.05 * torch.randn(x.shape, generator=self.generator, dtype=x.dtype)

    return net(stem(), nn.ReLU(), Noise(), lead=LEAD)


def python_random() -> nn.Module:
    """A factor from Python's random, which an export freezes at the value of one moment."""
    return _behind_relu(lambda self, x: x * (1 + 0.1 * random.random()))


def numpy_random() -> nn.Module:
    """The same from numpy."""
    return _behind_relu(lambda self, x: x * (1 + 0.1 * float(numpy.random.rand())))


def clock() -> nn.Module:
    """A factor that depends on the time of day."""
    return _behind_relu(lambda self, x: x * (1 + 0.1 * (time.perf_counter() % 1.0)))


def counted_calls() -> nn.Module:
    """A number in Python counts the calls, and the answer grows with it."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * (1 + 0.01 * self.calls)

    return _behind_relu(forward, calls=0)


def every_seventh_call() -> nn.Module:
    """Each seventh call answers otherwise."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.calls = (self.calls + 1) % 7
        return x * 1.1 if self.calls == 0 else x

    return _behind_relu(forward, calls=0)


def counting_buffer() -> nn.Module:
    """A buffer counts the calls, in int64."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * (1 + 0.01 * self.calls.to(x.dtype))

    return _behind_relu(forward, calls=torch.zeros((), dtype=torch.int64))


def moving_average() -> nn.Module:
    """A new tensor takes the place of a buffer at each call: the average of the features."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.average = 0.9 * self.average + 0.1 * x.mean((0, 2, 3))
        return x - self.average.view(1, -1, 1, 1)

    return _behind_relu(forward, average=torch.zeros(16))


def frame_before() -> nn.Module:
    """The features of the last call are mixed into this one, as for video."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        mixed = x + 0.2 * self.before
        self.before.copy_(x[:1].detach())
        return mixed

    return _behind_relu(forward, before=torch.zeros(1, 16, 16, 16))


def first_image_kept() -> nn.Module:
    """The mean of the first image that ever came is subtracted from all."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        if self.first is None:
            self.first = x.mean().item()
        return x - self.first

    return net(Do(forward, first=None), stem(), nn.ReLU(), lead=LEAD)


def shrinking_weight() -> nn.Module:
    """A weight that loses a thousandth at each call: decay at the wrong place."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.conv.weight.mul_(0.999)
        return self.conv(x).relu()

    return net(Do(forward, conv=stem()), lead=LEAD)


def observer_left_on() -> nn.Module:
    """Ranges that widen with what they see, and cut off what lies outside."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.high.copy_(torch.maximum(self.high, x.amax().detach()))
        return torch.minimum(x, 0.9 * self.high)

    return _behind_relu(forward, high=torch.ones(()))


def growing_list() -> nn.Module:
    """A list of what was seen, whose length is a factor."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(1)
        return x * (1 + 0.01 * len(self.seen))

    return _behind_relu(forward, seen=[])


def memory_outside() -> nn.Module:
    """What was seen is kept in a dictionary outside of the network."""
    seen: dict[str, float] = {}

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        seen["last"] = seen.get("last", 0.0) + 0.01
        return x * (1 + seen["last"])

    return _behind_relu(forward)


def tensor_that_is_no_buffer() -> nn.Module:
    """A tensor in a list, which no state_dict knows, follows the features."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.kept[0].mul_(0.9).add_(0.01)
        return x * (1 + self.kept[0].to(x.dtype))

    return _behind_relu(forward, kept=[torch.ones(())])


_RANDOM = {
    each.__name__: Network(make=each, truth="refuse: it draws random numbers")
    for each in (
        *(random_mask, bernoulli_channels, noise_in_place, faint_noise, dropped_channels),
        *(alpha_dropout, dropped_branch, dropout_that_stays, dropped_attention, random_slope),
        *(random_gate, shuffled_channels, sampled_place, random_crop, fractional_pool),
        *(own_generator, python_random, numpy_random),
    )
}
_CHANGING = {
    each.__name__: Network(make=each, truth="refuse: its answer changes from call to call")
    for each in (
        *(clock, counted_calls, every_seventh_call, counting_buffer, moving_average),
        *(frame_before, first_image_kept, shrinking_weight, observer_left_on, growing_list),
        *(memory_outside, tensor_that_is_no_buffer),
    )
}
TABLE = {**_RANDOM, **_CHANGING}
