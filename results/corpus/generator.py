"""Random small networks: a seed becomes a specification in JSON, and that becomes a module.

A network that a run found wrong is kept by its specification, whatever the generator draws later.
"""

from __future__ import annotations

from random import Random
from typing import Any

Spec = dict[str, Any]
Size = tuple[int, int]
"""Channels, and height and width, which are the same."""

IMAGE: Size = (3, 32)
ACTIVATIONS = (
    *("ReLU", "ReLU", "ReLU6", "SiLU", "GELU", "Hardswish", "LeakyReLU", "ELU", "Mish", "Tanh"),
    *("Sigmoid", "Softplus", "PReLU", "Hardsigmoid"),
)
NORMS = ("batch", "batch", "batch", "group", "layer", "instance", "none")
_MOST_LAYERS = 10
_WIDTHS = (8, 12, 16, 24, 32)


def generate(seed: object) -> Spec:
    """The specification of one network: `seed`, `image`, `layers` and the width of its `head`."""
    random = Random(str(seed))
    layers: list[Spec] = []
    size = IMAGE
    for _ in range(random.randint(2, _MOST_LAYERS)):
        drawn, size = _block(random, size, depth=0)
        layers += drawn
    ends = ("mean", "mean", "mean", "max", "generalised", "attention", "flat")
    end = random.choice([each for each in ends if each != "flat" or size[1] <= 8])
    features = size[0] * size[1] ** 2 if end == "flat" else size[0]
    head = random.choice(("linear", "linear", "two", "cosine"))
    return {
        "seed": random.randrange(10**6),
        "image": [IMAGE[0], IMAGE[1], IMAGE[1]],
        "layers": [*layers, {"kind": "end", "by": end, "width": size[0]}],
        "head": {"kind": head, "width": features},
    }


def _block(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    """A few layers that belong together, and the size behind them."""
    makers = [_convolution] * 6 + [_pool, _resize, _excite, _attention, _shuffle]
    if depth < 2:
        makers += [_residual, _residual, _branches]
    return random.choice(makers)(random, size, depth)


def _convolution(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    width, pixels = size
    kind = random.choice(("plain", "plain", "plain", "depthwise", "grouped", "transposed"))
    out = width if kind == "depthwise" else random.choice(_WIDTHS)
    groups = {"depthwise": width, "grouped": _divisor(random, width, out)}.get(kind, 1)
    kernel = random.choice((1, 2, 3, 3, 3, 5, 7))
    dilation = random.choice((1, 1, 1, 2, 3))
    padding = random.choice((0, dilation * (kernel - 1) // 2, dilation * (kernel - 1) // 2))
    stride = random.choice((1, 1, 2, 2 if pixels > 16 else 1))
    behind = (pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    mode = random.choice(("zeros",) * 5 + ("reflect", "replicate", "circular"))
    if kind == "transposed":
        behind = (pixels - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
        mode = "zeros"
    if not 1 <= behind <= 48 or (mode != "zeros" and padding >= pixels):
        return _activation(random, size), size
    layer = {"kind": "conv", "transposed": kind == "transposed", "in": width, "out": out}
    layer |= {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    layer |= {"groups": groups, "bias": random.random() < 0.5, "mode": mode}
    norm, act = _norm(random, (out, behind)), _activation(random, (out, behind))
    order = random.choice(([layer, *norm, *act], [layer, *norm, *act], [layer, *act, *norm]))
    return order, (out, behind)


def _divisor(random: Random, *numbers: int) -> int:
    return random.choice([each for each in (1, 2, 4, 8) if not any(n % each for n in numbers)])


def _norm(random: Random, size: Size) -> list[Spec]:
    name = random.choice(NORMS)
    if name == "none" or (name == "instance" and size[1] == 1):
        return []
    layer: Spec = {"kind": "norm", "name": name, "width": size[0]}
    if name == "group":
        layer["groups"] = _divisor(random, size[0])
    return [{**layer, "affine": random.random() < 0.8}]


def _activation(random: Random, size: Size) -> list[Spec]:
    return [{"kind": "act", "name": random.choice(ACTIVATIONS)}] if random.random() < 0.9 else []


def _pool(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    width, pixels = size
    name = random.choice(("max", "average", "adaptive"))
    if pixels < 6:
        return _activation(random, size), size
    if name == "adaptive":
        out = random.choice([each for each in range(2, pixels) if pixels % each == 0] or [pixels])
        return [{"kind": "pool", "name": name, "out": out}], (width, out)
    kernel, up = random.choice((2, 3)), random.random() < 0.3 and name == "max"
    over = pixels - kernel
    behind = (-(-over // 2) if up else over // 2) + 1
    return [{"kind": "pool", "name": name, "kernel": kernel, "up": up}], (width, behind)


def _resize(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    if size[1] > 16:
        return _activation(random, size), size
    mode = random.choice(("nearest", "bilinear"))
    return [{"kind": "resize", "mode": mode}], (size[0], 2 * size[1])


def _excite(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    gate = random.choice(("Sigmoid", "Hardsigmoid", "Tanh"))
    return [{"kind": "excite", "width": size[0], "gate": gate}], size


def _attention(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    if size[1] > 16:
        return _activation(random, size), size
    heads = _divisor(random, size[0])
    return [{"kind": "attention", "width": size[0], "heads": heads}], size


def _shuffle(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    return [{"kind": "shuffle", "groups": _divisor(random, size[0])}], size


def _residual(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    layers, inner = _inside(random, size, depth)
    short = [] if inner == size else [{"kind": "fit", "in": size[0], "out": inner[0]}]
    short += [] if inner[1] == size[1] else [{"kind": "sized", "out": inner[1]}]
    scale = random.choice((1.0, 1.0, 0.2))
    spec = {"kind": "residual", "layers": layers, "short": short, "scale": scale}
    return [spec, *_activation(random, inner)], inner


def _branches(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    branches, width, pixels = [], 0, None
    for _ in range(random.choice((2, 3))):
        layers, inner = _inside(random, size, depth)
        pixels = pixels or inner[1]
        branches.append([*layers, *([{"kind": "sized", "out": pixels}] * (inner[1] != pixels))])
        width += inner[0]
    narrow = random.choice(_WIDTHS)
    fit = {"kind": "fit", "in": width, "out": narrow}
    return [{"kind": "branches", "branches": branches}, fit], (narrow, pixels or size[1])


def _inside(random: Random, size: Size, depth: int) -> tuple[list[Spec], Size]:
    layers: list[Spec] = []
    for _ in range(random.randint(1, 3)):
        drawn, size = _block(random, size, depth + 1)
        layers += drawn
    return layers, size
