"""Fold batch norms into the layer before them, in float64, if nothing else can notice.

All backends start from the same folded module, so low precision rounds the folded weights once
instead of folding rounded ones. A batch norm that is not folded is correct too: it is left to the
backend. So none is folded in doubt, and the result is compared with the module in float64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from compile.errors import CheckFailed, first_line
from compile.graphs.affine import by_channel
from compile.graphs.constants import operator
from compile.graphs.effects import check_effects
from compile.graphs.names import module_of, own_path
from compile.network.checking import blame, quiet_torch
from compile.network.copying import copied, in_type

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

_LAYERS = {"aten::linear": 2} | {
    f"aten::{name}{n}d": n + 2 for name in ("conv", "conv_transpose") for n in (1, 2, 3)
}
"""Operators that a batch norm can be folded into, and the dimensions of an output whose channels
are those that the norm sees."""

_SAME = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Largest relative difference between the outputs of the module and of its folded copy, when both
compute in this dtype. In float64 the folded weights are not rounded, so only float64's own rounding
(1e-16) is left. Deep networks make it up to a million times as large. float32 is for modules that
cannot run in float64."""

_HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks"),
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A layer and the batch norm that may be folded into it."""

    layer: str
    """Path of the convolution or linear layer."""
    norm: str
    """Path of the batch norm."""
    transposed: bool
    """Whether the second dimension of the weight is that of the output's channels."""


def fold_batch_norms(
    module: nn.Module, example: torch.Tensor, columns: Sequence[slice] = (slice(None),)
) -> nn.Module:
    """Return a copy in which batch norms are folded into the convolution or linear layer before.

    A pair is folded when the exported graph shows that the layer feeds this batch norm alone, and
    that nothing else reads their weights; when neither has another name, a hook, a patched forward
    or a computed weight; and when the copy still computes the same. The folded weights are computed
    in float64 and rounded once. The batch norm becomes an Identity; a subclass of it stays and
    changes nothing. Every other name stays. `columns` are those of each output in a row.

    Raises CheckFailed that names the layer which torch.export cannot follow, which normalises by
    the statistics of its batch, draws random numbers, or writes to a weight or a buffer.
    """
    module = copied(module).eval()
    exported = export(module, example)
    check_statistics(exported)
    check_effects(exported)
    pairs = [each for each in _pairs(exported, module) if _finite(module, each)]
    reference = _reference(module, example, columns) if pairs else None
    return module if reference is None else _folded(module, reference.kept(pairs))


def export(module: nn.Module, example: torch.Tensor) -> ExportedProgram:
    """The graph of a module; CheckFailed that names the layer which torch.export cannot follow."""
    with torch.no_grad(), quiet_torch(), blame(module) as blamed:
        try:
            return torch.export.export(module, (example,), strict=False)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            hint = (
                "its control flow depends on the data; compute both branches and choose with "
                "torch.where"
                if "data-dependent" in str(error)
                else "replace what it calls, or leave the layer out"
            )
            raise CheckFailed(
                f"{blamed} cannot be exported: {first_line(error)}; {hint}"
            ) from error


def check_statistics(exported: ExportedProgram) -> None:
    """Refuse a batch norm in training mode: one image's answer would depend on the others.

    Weights may be normalised in this way (weight standardisation): they are the same for every
    batch.
    """
    of_images = set(exported.graph_signature.user_inputs)
    for node in exported.graph.nodes:
        if not of_images.isdisjoint(given.name for given in node.all_input_nodes):
            of_images.add(node.name)
        if operator(node) != "aten::batch_norm" or node.args[5] is False:
            continue
        if node.args[0].name in of_images:
            layer = own_path(module_of(node)) or node.name
            raise CheckFailed(
                f"layer '{layer}' is a batch norm in training mode: it normalises by the "
                "statistics of the batch; give it running statistics and call .eval()"
            )


def _pairs(exported: ExportedProgram, module: nn.Module) -> list[_Pair]:
    """The pairs that the graph and the modules allow."""
    if any(getattr(torch_module, f"_global{hooks}", None) for hooks in _HOOKS):
        return []
    signature = exported.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    alone = _alone(module)
    pairs = []
    for norm in exported.graph.nodes:
        if operator(norm) != "aten::batch_norm" or norm.args[5] is not False:
            continue
        layer = norm.args[0]
        if len(layer.users) != 1 or layer.meta["val"].ndim != _LAYERS.get(operator(layer)):
            continue
        paths = module_of(layer), module_of(norm)
        bias = layer.args[2] if len(layer.args) > 2 else None
        own = [_own(each, names, paths[0]) for each in (layer.args[1], bias)]
        own += [_own(each, names, paths[1]) for each in norm.args[1:5]]
        parts = ("weight", "bias", "weight", "bias", "running_mean", "running_var")
        fits = all(each in (None, part) for each, part in zip(own, parts, strict=True))
        if fits and own[0] is not None and alone.issuperset(paths):
            transposed = "transpose" in operator(layer)
            pairs.append(_Pair(layer=paths[0], norm=paths[1], transposed=transposed))
    return pairs


def _own(node: Node | None, names: dict[str, str], path: str) -> str | None:
    """The name inside the module at `path` of a tensor that one step alone reads.

    None if there is no tensor; "" if it belongs elsewhere, is computed, or is read twice.
    """
    if node is None:
        return None
    name = names.get(getattr(node, "name", ""), "")
    holder, _, part = name.rpartition(".")
    return part if holder == path and len(node.users) == 1 else ""


def _alone(module: nn.Module) -> set[str]:
    """Paths of modules with one name, only tensors of their own, and no hook or patched forward."""
    modules = list(module.named_modules(remove_duplicate=False))
    times = Counter(id(each) for _, each in modules)
    readers = Counter(
        storage
        for each in {id(each): each for _, each in modules}.values()
        for storage in {_storage(tensor) for tensor in _tensors(each)}
    )
    return {
        path
        for path, each in modules
        if times[id(each)] == 1
        and all(readers[_storage(tensor)] == 1 for tensor in _tensors(each))
        and not any(getattr(each, hooks, None) for hooks in _HOOKS)
        and "forward" not in vars(each)
    }


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return [tensor for tensor in own if tensor.numel()]


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """What folding may not change."""

    module: nn.Module
    """With everything unfolded."""
    samples: torch.Tensor
    """(N, C, H, W) in the module's dtype."""
    outputs: torch.Tensor
    """(N, width): what the module gives for the samples."""
    columns: Sequence[slice]
    """Of each output."""

    def kept(self, tried: Sequence[_Pair], before: Sequence[_Pair] = ()) -> list[_Pair]:
        """`before`, and those of `tried` that are sound together with it: found by halving."""
        together = [*before, *tried]
        if self._agrees(together):
            return together
        if len(tried) == 1:
            return list(before)
        half = len(tried) // 2
        return self.kept(tried[half:], self.kept(tried[:half], before))

    def _agrees(self, pairs: Sequence[_Pair]) -> bool:
        try:
            found = _outputs(_folded(self.module, pairs), self.samples)
        except Exception:  # what a module says of layers that it did not expect
            return False
        limit, difference = _SAME[self.samples.dtype], found - self.outputs
        return all(
            bool((_size(difference[:, own]) <= limit * _size(self.outputs[:, own])).all())
            for own in self.columns
        )


def _reference(
    module: nn.Module, example: torch.Tensor, columns: Sequence[slice]
) -> _Reference | None:
    """In float64, or in float32 where a module insists on that; None if it answers in neither.

    The samples are two of normal noise.
    """
    noise = torch.randn((2, *example.shape[1:]), generator=torch.Generator().manual_seed(0))
    for dtype in _SAME:
        plain, samples = in_type(copied(module), dtype), noise.to(dtype)
        with suppress(Exception):  # whatever a module raises is its own
            outputs = _outputs(plain, samples)
            return _Reference(module=plain, samples=samples, outputs=outputs, columns=columns)
    return None


def _outputs(module: nn.Module, samples: torch.Tensor) -> torch.Tensor:
    """What a module gives for samples one by one, since it may insist on that; (N, classes)."""
    with torch.no_grad():
        return torch.cat([module(each) for each in torch.split(samples, 1)])


def _size(outputs: torch.Tensor) -> torch.Tensor:
    """(N,) root mean squares of outputs (N, classes)."""
    return outputs.square().mean(dim=-1).sqrt()


def _folded(module: nn.Module, pairs: Sequence[_Pair]) -> nn.Module:
    """A copy in which the pairs are folded, rounded to the dtype that the module has."""
    module = copied(module)
    for pair in pairs:
        layer, norm = module.get_submodule(pair.layer), module.get_submodule(pair.norm)
        weight, bias = _fused(layer, norm, pair.transposed)
        for name, value in (("weight", weight), ("bias", bias)):
            kind = layer.get_parameter("weight")
            setattr(layer, name, nn.Parameter(value.to(kind.dtype), kind.requires_grad))
        if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            module.set_submodule(pair.norm, nn.Identity())
        else:  # it may do more than normalise: timm's BatchNormAct2d applies an activation
            _neutralise(norm)
    return module


@torch.no_grad()
def _fused(layer: nn.Module, norm: nn.Module, transposed: bool) -> tuple[torch.Tensor, ...]:
    """Weight and bias in float64 of the layer that computes what the two of them do."""
    weight = layer.get_parameter("weight").double()
    own = {name: value.double() for name, value in norm.state_dict().items()}
    scale = (own["running_var"] + norm.eps).rsqrt()
    scale = scale * own["weight"] if "weight" in own else scale
    shift = own.get("bias", torch.zeros_like(scale)) - own["running_mean"] * scale
    bias = getattr(layer, "bias", None)
    if bias is not None:
        shift = shift + bias.double() * scale
    return by_channel(weight, scale, first=not transposed), shift


def _finite(module: nn.Module, pair: _Pair) -> bool:
    """Whether the folded weights can be written down; a variance of 0 may make them infinite."""
    layer, norm = module.get_submodule(pair.layer), module.get_submodule(pair.norm)
    kind = layer.get_parameter("weight").dtype
    if any(tensor.dtype != kind for tensor in _tensors(norm) if tensor.is_floating_point()):
        return False
    fused = _fused(layer, norm, pair.transposed)
    return all(bool(torch.isfinite(each.to(kind)).all()) for each in fused)


@torch.no_grad()
def _neutralise(norm: nn.Module) -> None:
    """Make a batch norm return its input unchanged: it divides by the root of 0.5 + 0.5."""
    assert isinstance(norm, nn.modules.batchnorm._NormBase)
    norm.reset_parameters()  # scale 1, shift 0, mean 0, variance 1
    assert norm.running_var is not None
    norm.running_var.fill_(0.5)
    norm.eps = 0.5  # torch 2.11 takes no epsilon of 0
