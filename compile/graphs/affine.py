"""Factors and shifts by channel beside a layer: what a compiler may fold into its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from compile.graphs.constants import Constants, operator

if TYPE_CHECKING:
    from torch.fx import Node

_PASSED = frozenset(
    f"aten::{name}" for name in ("dropout", "clone", "contiguous", "alias", "detach", "to")
)
_MOVED = frozenset(
    f"aten::{name}" for name in ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze")
)


@dataclass(frozen=True, kw_only=True)
class Affine:
    """`x * scale + shift`, for each channel."""

    scale: torch.Tensor
    """(channels,) or (1,) float64."""
    shift: torch.Tensor
    """(channels,) or (1,) float64."""
    size: torch.Tensor
    """(channels,) or (1,): the sum of the shift's terms, each without its sign."""
    roundings: int
    """How many roundings folding it in adds to a weight, each of at most one step."""

    @property
    def nothing(self) -> bool:
        """Whether it changes no value, as a batch norm that was folded and had to stay."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())


def by_channel(weight: torch.Tensor, factor: torch.Tensor, *, first: bool) -> torch.Tensor:
    """`weight` times a factor for each channel, or one factor for all.

    The channels lie in the first dimension, or in the second if `first` is False. The second one
    holds only the channels of one group, because the rows are divided between the groups.
    """
    rows, *others = weight.shape
    if len(factor) == 1:
        return weight * factor
    if first:
        return weight * factor.view(rows, *[1] * len(others))
    groups = len(factor) // others[0]
    of_group = factor.view(groups, 1, -1).expand(-1, rows // groups, -1)
    return weight * of_group.reshape(rows, others[0], *[1] * (len(others) - 1))


def behind(layer: Node, channel: int, constants: Constants) -> list[Affine]:
    """The factors and shifts that the layer's output passes, step by step, until any other step.

    `channel` is the dimension of the output that the channels lie in.
    """
    found: list[Affine] = []
    at = layer
    while len(at.users) == 1:
        (user,) = at.users
        affine = _affine(user, at, channel, constants)
        moved = channel if affine else _moved(user, at, channel)
        if moved is None:
            break
        found += [affine] if affine and not affine.nothing else []
        at, channel = user, moved
    return found


def before(given: object, channel: int, constants: Constants) -> list[Affine]:
    """The factors and shifts that the layer's input passed, the last one first. Any other step ends
    the search, even if it only changes the shape.
    """
    found: list[Affine] = []
    while len(getattr(given, "users", ())) == 1:
        node: Any = given
        varying = [each for each in node.all_input_nodes if each not in constants.nodes]
        affine = _affine(node, varying[0], channel, constants) if len(varying) == 1 else None
        if affine is None:
            break
        found += [] if affine.nothing else [affine]
        given = varying[0]
    return found


def _affine(node: Node, given: Node, channel: int, constants: Constants) -> Affine | None:
    """What a step does to `given`; None if that is anything but a factor and a shift."""
    name, args = operator(node), node.args
    if name == "aten::batch_norm":
        return _of_norm(node, constants) if args[0] is given and channel == 1 else None
    if name == "aten::neg":
        return _plain(scale=-torch.ones(1).double(), roundings=0)
    if name not in ("aten::mul", "aten::div", "aten::add", "aten::sub", "aten::rsub"):
        return None
    swapped = args[0] is not given
    other = _vector(args[0] if swapped else args[1], given, channel, constants)
    if other is None or (swapped and name == "aten::div") or "rounding_mode" in node.kwargs:
        return None
    if name in ("aten::mul", "aten::div"):
        return _plain(scale=other if name == "aten::mul" else 1 / other)
    alpha = float(node.kwargs.get("alpha", args[2] if len(args) > 2 else 1))  # type: ignore[arg-type]
    one = torch.ones(1).double()
    if name == "aten::add":
        scale, shift = (alpha * one, other) if swapped else (one, alpha * other)
    elif (name == "aten::sub") is swapped:  # other - alpha * given
        scale, shift = -alpha * one, other
    else:
        scale, shift = one, -alpha * other
    return _plain(scale=scale, shift=shift, roundings=int(abs(alpha) != 1))


def _plain(scale: torch.Tensor, shift: torch.Tensor | None = None, roundings: int = 1) -> Affine:
    shift = torch.zeros(1).double() if shift is None else shift
    return Affine(scale=scale, shift=shift, size=shift.abs(), roundings=roundings)


def _of_norm(node: Node, constants: Constants) -> Affine | None:
    """A batch norm that goes by running statistics: its factor is a root and two products."""
    args: Any = node.args
    given = [each for each in args[1:5] if each is not None]
    if args[5] is not False or not constants.nodes.issuperset(given):
        return None
    weight, bias, mean, variance = (
        None if each is None else constants.value(each, torch.float64) for each in args[1:5]
    )
    if mean is None or variance is None:
        return None
    scale = (variance + args[7]).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    size = shift.abs()
    if bias is not None:
        shift, size = shift + bias, size + bias.abs()
    return Affine(scale=scale, shift=shift, size=size, roundings=3)


def _vector(
    operand: object, given: Node, channel: int, constants: Constants
) -> torch.Tensor | None:
    """(channels,) or (1,) float64 of a constant that is the same at every place of a channel."""
    if isinstance(operand, int | float):
        return torch.tensor([float(operand)], dtype=torch.float64)
    node: Any = operand
    value = constants.value(node, torch.float64) if node in constants.nodes else None
    if value is None or not value.is_floating_point():
        return None
    shape = given.meta["val"].shape
    sizes = [1] * (len(shape) - value.ndim) + list(value.shape)
    if len(sizes) != len(shape) or any(s != 1 for i, s in enumerate(sizes) if i != channel):
        return None
    return value.reshape(-1) if sizes[channel] in (1, shape[channel]) else None


def _moved(user: Node, given: Node, channel: int) -> int | None:
    """Where the channels lie behind a step that moves values or nothing; None for any other."""
    name, args = operator(user), cast(Any, user.args)
    if args[:1] != (given,) or (name == "aten::dropout" and args[2]):
        return None
    old, new = given.meta["val"].shape, getattr(user.meta["val"], "shape", None)
    if name in _PASSED:
        return channel
    if name == "aten::permute":
        return [each % len(old) for each in args[1]].index(channel)
    if name == "aten::transpose":
        ends = [each % len(old) for each in args[1:3]]
        return ends[1 - ends.index(channel)] if channel in ends else channel
    if name not in _MOVED or new is None:
        return None
    sides = [math.prod(old[:channel]), old[channel], math.prod(old[channel + 1 :])]
    splits = [[math.prod(new[:i]), new[i], math.prod(new[i + 1 :])] for i in range(len(new))]
    return splits.index(sides) if sides in splits else None
