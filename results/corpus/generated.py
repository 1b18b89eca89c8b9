"""Specifications of generator.py become modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from results.corpus.generator import Spec
from zoo.models.calibration import calibrate_batch_norms


def build(spec: Spec) -> nn.Module:
    """The network of a specification, in evaluation mode, with calibrated batch norms."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec["seed"])
        network = nn.Sequential(_sequence(spec["layers"]), _Head(spec["head"]))
    calibrate_batch_norms(network, tuple(spec["image"]), spec["seed"])
    return network.eval()


def _sequence(layers: list[Spec]) -> nn.Sequential:
    return nn.Sequential(*(_MAKERS[layer["kind"]](layer) for layer in layers))


def _conv(spec: Spec) -> nn.Module:
    names = ("stride", "padding", "dilation", "groups", "bias")
    options = {name: spec[name] for name in names}
    sizes = spec["in"], spec["out"], spec["kernel"]
    if spec["transposed"]:
        return nn.ConvTranspose2d(*sizes, **options)
    return nn.Conv2d(*sizes, **options, padding_mode=spec["mode"])


def _norm(spec: Spec) -> nn.Module:
    width, affine = spec["width"], spec["affine"]
    if spec["name"] == "batch":
        return nn.BatchNorm2d(width, affine=affine)
    if spec["name"] == "instance":
        return nn.InstanceNorm2d(width, affine=affine)
    if spec["name"] == "group":
        return nn.GroupNorm(spec["groups"], width, affine=affine)
    return _LayerNorm(width, elementwise_affine=affine)


class _LayerNorm(nn.LayerNorm):
    """Over the channels of a map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _act(spec: Spec) -> nn.Module:
    return getattr(nn, spec["name"])()


def _pool(spec: Spec) -> nn.Module:
    if spec["name"] == "adaptive":
        return nn.AdaptiveAvgPool2d(spec["out"])
    if spec["name"] == "max":
        return nn.MaxPool2d(spec["kernel"], 2, ceil_mode=spec["up"])
    return nn.AvgPool2d(spec["kernel"], 2)


class _Resize(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"mode": spec.get("mode", "nearest")}
        self.options |= {"size": spec["out"]} if "out" in spec else {"scale_factor": 2.0}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, **self.options)


class _Excite(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        narrow = max(2, spec["width"] // 4)
        self.gate = nn.Sequential(
            nn.Conv2d(spec["width"], narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, spec["width"], 1),
            getattr(nn, spec["gate"])(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x.mean((2, 3), keepdim=True))


class _Attention(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(spec["width"])
        self.mix = nn.MultiheadAttention(spec["width"], spec["heads"], batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        mixed = self.mix(tokens, tokens, tokens, need_weights=False)[0]
        return x + mixed.transpose(1, 2).unflatten(2, x.shape[2:])


def _fit(spec: Spec) -> nn.Module:
    return nn.Conv2d(spec["in"], spec["out"], 1)


class _Residual(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.branch, self.short = _sequence(spec["layers"]), _sequence(spec["short"])
        self.scale = spec["scale"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.short(x) + self.scale * self.branch(x)


class _Branches(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.branches = nn.ModuleList(map(_sequence, spec["branches"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class _End(nn.Module):
    """A map becomes features (N, width), or all its pixels."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.by = spec["by"]
        self.look = nn.Conv2d(spec["width"], 1, 1) if self.by == "attention" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.by == "flat":
            return x.flatten(1)
        if self.by == "max":
            return x.amax((2, 3))
        if self.by == "generalised":
            return x.clamp(min=1e-3).square().mean((2, 3)).sqrt()
        if self.look is not None:
            return (x * self.look(x).flatten(2).softmax(2).view(-1, 1, *x.shape[2:])).sum((2, 3))
        return x.mean((2, 3))


class _Head(nn.Module):
    """Features (N, width) -> 10 scores, with class 3 ahead."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.cosine = spec["kind"] == "cosine"
        inner = 24 if spec["kind"] == "two" else spec["width"]
        self.first = nn.Linear(spec["width"], inner) if spec["kind"] == "two" else nn.Identity()
        self.last = nn.Linear(inner, 10)
        with torch.no_grad():
            self.last.bias[3] += 0.3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu() if not self.cosine else F.normalize(x, dim=1)
        return self.last(x)


_MAKERS: dict[str, Callable[[Spec], nn.Module]] = {
    "conv": _conv,
    "norm": _norm,
    "act": _act,
    "pool": _pool,
    "resize": _Resize,
    "sized": _Resize,
    "excite": _Excite,
    "attention": _Attention,
    "shuffle": lambda spec: nn.ChannelShuffle(spec["groups"]),
    "fit": _fit,
    "residual": _Residual,
    "branches": _Branches,
    "end": _End,
}
