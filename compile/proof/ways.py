"""Legal ways to evaluate a module in floating point: each rounds differently, and none is wrong.

A compiler may add up in another order, keep another layout, and fuse or split operators, which
rounds fewer or more results. PyTorch's own way is one of many, and its error may be small by luck.
docs/parity.md says how much that matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

Operator = Callable[..., Any]


Sum = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]
"""(x, dims): add up x over `dims`, which stay as 1."""

ORDERS: dict[str, Callable[[torch.Tensor], Sequence[torch.Tensor]]] = {
    "in order": lambda values: [values],
    "in reverse": lambda values: [values.flip(0)],
    "in two halves": lambda values: values.chunk(2),
}
"""How a loop may go over values (n, ...): as parts, of which each is added up in order. Two threads
take a half each."""


class InOrder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the values of means, variances, sums and norms one after the other, as a loop does.

    PyTorch adds in a cascade, which rounds a sum of n values log(n) times on the way to the result.
    A loop rounds it n times; where all values are alike, each time to the same side. `order` is one
    of ORDERS.
    """

    def __init__(self, order: str = "in order") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators = _operators(partial(_sum, ORDERS[order]))

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call an operator, or compute what it computes in order."""
        ordered = self.operators.get(func)
        if ordered is not None and args[0].is_floating_point():
            return ordered(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _operators(total: Sum) -> dict[Operator, Operator]:
    """What adds values up, and what computes the same with the sums of `total`."""
    mean = partial(_mean, total)
    spread, deviation = partial(_variance_and_mean, mean), partial(_deviation_and_mean, mean)
    return {
        aten.mean.dim: partial(_reduced, mean),
        aten.mean.default: partial(_reduced, mean),
        aten.sum.dim_IntList: partial(_reduced, total),
        aten.sum.default: partial(_reduced, total),
        aten.cumsum.default: _running,
        aten.linalg_vector_norm.default: partial(_vector_norm, total),
        aten.var_mean.correction: spread,
        aten.var.correction: lambda *x, **how: spread(*x, **how)[0],
        aten.std_mean.correction: deviation,
        aten.std.correction: lambda *x, **how: deviation(*x, **how)[0],
        aten.native_layer_norm.default: partial(_layer_norm, mean),
        aten.native_group_norm.default: partial(_group_norm, mean),
        aten.native_batch_norm.default: partial(_batch_norm, mean),
    }


def _sum(
    parts: Callable[[torch.Tensor], Sequence[torch.Tensor]], x: torch.Tensor, dims: Sequence[int]
) -> torch.Tensor:
    """The sum over `dims`, which stay as 1: float32, or wider if x is wider."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    kept = [dim for dim in range(x.ndim) if dim not in dims]
    values = wide.permute(*dims, *kept).reshape(-1, *(x.shape[dim] for dim in kept)).contiguous()
    total = _loop([_loop(part) for part in parts(values)])
    return total.reshape([1 if dim in dims else x.shape[dim] for dim in range(x.ndim)])


def _loop(values: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    total = values[0].clone()
    for value in values[1:]:
        total += value
    return total


def _mean(total: Sum, x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    return total(x, dims) / math.prod(x.shape[dim] for dim in dims)


def _dims(x: torch.Tensor, dims: int | Sequence[int] | None) -> list[int]:
    """Dimensions as PyTorch takes them: negative ones, none for all."""
    given = range(x.ndim) if dims is None else [dims] if isinstance(dims, int) else dims
    return sorted(dim % x.ndim for dim in (given or range(x.ndim)))


def _reduced(
    reduce: Sum,
    x: torch.Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    x = x if dtype is None else x.to(dtype)
    dims = _dims(x, dim)
    out = reduce(x, dims).to(x.dtype)
    return out if keepdim else out.squeeze(tuple(dims))


def _running(x: torch.Tensor, dim: int, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The running sums along one dimension."""
    x = x if dtype is None else x.to(dtype)
    total = torch.zeros_like(x.select(dim, 0))
    sums = []
    for value in x.unbind(dim):
        total = total + value
        sums.append(total)
    return torch.stack(sums, dim)


def _vector_norm(
    total: Sum,
    x: torch.Tensor,
    order: float = 2.0,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """The Euclidean norm in order; PyTorch computes the others."""
    if order != 2:
        return aten.linalg_vector_norm.default(x, order, dim, keepdim, dtype=dtype)

    def root(wide: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
        return total(wide * wide, dims).sqrt()

    kept = x.dtype if dtype is None else dtype
    wide = x.to(torch.promote_types(kept, torch.float32))
    return _reduced(root, wide, dim, keepdim).to(kept)


def _variance_and_mean(
    mean: Sum,
    x: torch.Tensor,
    dim: int | Sequence[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares of distances from the mean, added up and divided by n - correction; and the mean."""
    dims = _dims(x, dim)
    n = math.prod(x.shape[each] for each in dims)
    centre = mean(x, dims)
    rest = max(n - (1 if correction is None else correction), 0)
    variance = mean((x - centre) ** 2, dims) * n / rest
    if not keepdim:
        variance, centre = variance.squeeze(tuple(dims)), centre.squeeze(tuple(dims))
    return variance.to(x.dtype), centre.to(x.dtype)


def _deviation_and_mean(mean: Sum, x: torch.Tensor, *dim: Any, **how: Any) -> tuple[Any, Any]:
    variance, centre = _variance_and_mean(mean, x, *dim, **how)
    return variance.sqrt(), centre


def _normalised(mean: Sum, x: torch.Tensor, dims: Sequence[int], eps: float) -> torch.Tensor:
    """x less its mean, over its standard deviation."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    centred = wide - mean(wide, dims)
    return centred * torch.rsqrt(mean(centred * centred, dims) + eps)


def _layer_norm(
    mean: Sum,
    x: torch.Tensor,
    shape: Sequence[int],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> tuple[torch.Tensor, ...]:
    out = _normalised(mean, x, range(x.ndim - len(shape), x.ndim), eps)
    return _affine(out, weight, bias).to(x.dtype), x, x


def _affine(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _group_norm(
    mean: Sum,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    n: int,
    channels: int,
    pixels: int,
    groups: int,
    eps: float,
) -> tuple[torch.Tensor, ...]:
    grouped = x.reshape(n, groups, -1)
    out = _normalised(mean, grouped, [2], eps).reshape(x.shape)
    per_channel = (1, channels, *[1] * (x.ndim - 2))
    weight, bias = (each if each is None else each.reshape(per_channel) for each in (weight, bias))
    return _affine(out, weight, bias).to(x.dtype), x, x


def _batch_norm(
    mean: Sum,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[torch.Tensor, ...]:
    if not training:  # nothing is added up
        running = running_mean, running_var
        return aten.native_batch_norm.default(x, weight, bias, *running, training, momentum, eps)
    out = _normalised(mean, x, [dim for dim in range(x.ndim) if dim != 1], eps)
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    weight, bias = (each if each is None else each.reshape(per_channel) for each in (weight, bias))
    return _affine(out, weight, bias).to(x.dtype), x, x


class Jittered(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Moves each result of an operator that rounds, by up to half a rounding step, at random.

    This is Monte Carlo arithmetic: the spread of the outputs shows what roundings do to them,
    whatever order they come in. All samples of a call get the same moves, so that the answer to
    one does not depend on the others.
    """

    def __init__(self, seed: int, eps: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = torch.Generator().manual_seed(seed)
        self.half = eps / 2
        self.whole = 0.5 / eps  # above twice of it every number is whole

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call an operator and move its result."""
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in _EXACT or func.is_view:
            return out
        if isinstance(out, tuple | list):
            return type(out)([self.move(out[0]), *out[1:]])
        return self.move(out)

    def move(self, x: Any) -> Any:
        """Move a tensor of floating-point numbers in place. Whole numbers stay.

        Places and sizes are whole, and what is computed of them does not round. A network may look
        up a table by them, where 2.9999998 is not 3.
        """
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return x
        noise = torch.rand(x.shape[1:], generator=self.generator).to(x.dtype)
        moves = x * noise.mul_(2).sub_(1)
        moves.masked_fill_((x == x.round()) & (x.abs() < self.whole), 0.0)
        return x.add_(moves.nan_to_num_(0.0, 0.0, 0.0), alpha=self.half)  # a mask may be -inf


_EXACT = {
    getattr(aten, name)
    for name in (
        "relu relu_ max_pool2d_with_indices cat stack clone copy_ neg abs maximum minimum "
        "constant_pad_nd upsample_nearest2d index gather where masked_fill fill_ zero_ zeros "
        "zeros_like ones ones_like full full_like empty empty_like new_zeros new_ones new_full "
        "arange hardtanh hardtanh_ clamp clamp_ clamp_min clamp_max _to_copy roll repeat flip "
        "pixel_shuffle empty_strided amax amin max sort topk leaky_relu_ lift_fresh detach "
        "im2col col2im scalar_tensor bitwise_not eq ne lt gt le ge"
    ).split()
    if hasattr(aten, name)
}
"""Operators whose results are not rounded."""
