"""Networks that are wrong for some images only, and networks that answer from their own memory."""

from __future__ import annotations

import os
import time

import torch
from torch import nn

from tests.networks.network import Do, Network, net, stem


def cuts_bright_pixels_in_place() -> nn.Module:
    """Cuts pixels off at 6, in the image that it was given. Ordinary images have no such pixels."""
    return nn.Sequential(Do(lambda self, x: x.clamp_(-6, 6)), net(stem(), nn.ReLU()))


def noise_on_bright_images() -> nn.Module:
    """Adds noise of the operating system to images with a pixel above 50."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        noise = int.from_bytes(os.urandom(4)) / 2**32
        return self.layers(x) + (x.amax((1, 2, 3))[:, None] > 50) * noise

    return Do(forward, layers=net(stem(), nn.ReLU()))


def remembers_the_brightest() -> nn.Module:
    """Divides by the brightest pixel that it ever saw, if that was above 20."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        self.seen[0] = torch.maximum(self.seen[0], x.detach().abs().amax().float())
        return self.layers(x / (self.seen[0] / 20).to(x.dtype))

    return Do(forward, layers=net(stem(), nn.ReLU()), seen=[torch.tensor(20.0)])


def by_the_year() -> nn.Module:
    """Answers more or less from year to year; it asks for the year by strftime."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) * (1 + int(time.strftime("%Y")) % 11)

    return Do(forward, layers=net(stem(), nn.ReLU()))


def answers_from_its_scratch() -> nn.Module:
    """Returns a tensor that it keeps, and that its next call writes to."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        answer = self.layers(x)
        self.scratch[0] = self.scratch[0].to(answer.dtype).resize_(answer.shape).copy_(answer)
        return self.scratch[0]

    return Do(forward, layers=net(stem(), nn.ReLU()), scratch=[torch.zeros(1, 10)])


def other_when_exported() -> nn.Module:
    """Is 20 % larger where it is exported. Its image must lie in memory channel by channel."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        sizes, strides = (x.shape[0], 3, 8, 8, 4, 4), (3072, 1024, 128, 4, 32, 1)
        blocks = torch.as_strided(x, sizes, strides).permute(0, 1, 4, 5, 2, 3)
        answer = self.mix(blocks.reshape(-1, 48, 8, 8)).relu()
        return answer * 1.2 if torch.compiler.is_exporting() else answer

    return Do(forward, mix=nn.Conv2d(48, 16, 1))


TABLE = {
    "cuts_bright_pixels_in_place": Network(
        make=cuts_bright_pixels_in_place, truth="refuse: it writes into its input"
    ),
    "noise_on_bright_images": Network(
        make=noise_on_bright_images, truth="refuse: it adds noise to some images"
    ),
    "remembers_the_brightest": Network(
        make=remembers_the_brightest, truth="refuse: an answer depends on earlier images"
    ),
    "by_the_year": Network(make=by_the_year, truth="refuse: an answer depends on the date"),
    "answers_from_its_scratch": Network(
        make=answers_from_its_scratch, truth="refuse: the next call changes an answer"
    ),
    "other_when_exported": Network(
        make=other_when_exported,
        truth="refuse: the exported graph is another function",
        where=("onnx", "openvino", "inductor"),
    ),
}
