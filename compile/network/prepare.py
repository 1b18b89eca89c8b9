"""Make a module ready for every backend: batch norms folded in float64, then cast.

All backends start from the same folded module, so one gate can compare the constants found in a
file with it, and low precision rounds the folded weights once instead of folding rounded ones.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from compile.errors import CheckFailed, first_line
from compile.graphs.names import module_of
from compile.network.checking import blame, quiet_torch
from compile.network.copying import copied
from compile.precision import precision

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node


class Cast(nn.Module):
    """A module that computes in `dtype` but takes and gives float32."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module.to(dtype)
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32 -> (N, classes) float32."""
        return self.module(x.to(self.dtype)).float()


def cast(module: nn.Module, name: str) -> nn.Module:
    """Return a copy of `module` that computes at precision `name` behind a float32 interface."""
    module = copied(module).eval()
    dtype = eager_dtype(name)
    return module.float() if dtype == torch.float32 else Cast(module, dtype)


def eager_dtype(name: str) -> torch.dtype:
    """The dtype that eager PyTorch computes in at precision `name`; quantised graphs in float32."""
    return getattr(torch, precision(name).eager_dtype)


def fold_batch_norms(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return a copy in which each batch norm that directly follows a convolution is folded in.

    A pair is folded when the exported graph shows that the convolution feeds only this batch norm
    and that neither is used a second time. The folded weights are computed in float64 and rounded
    once. The batch norm becomes an Identity; a subclass of it stays and changes nothing. Every
    other name stays.

    Raises CheckFailed that names the layer which torch.export cannot follow, or which normalises
    by the statistics of its batch.
    """
    folded = copied(module).eval()
    with torch.no_grad(), quiet_torch(), blame(folded) as blamed:
        try:
            exported = torch.export.export(folded, (example,), strict=False)
        except Exception as error:
            hint = (
                "its control flow depends on the data; compute both branches and choose with "
                "torch.where"
                if "data-dependent" in str(error)
                else "replace what it calls, or leave the layer out"
            )
            raise CheckFailed(
                f"{blamed} cannot be exported: {first_line(error)}; {hint}"
            ) from error
    _check_statistics(exported)
    for convolution_name, norm_name in _pairs(exported):
        convolution = folded.get_submodule(convolution_name)
        norm = folded.get_submodule(norm_name)
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            continue
        fused = fuse_conv_bn_eval(
            copy.deepcopy(convolution).double(), copy.deepcopy(norm).double()
        ).float()
        folded.set_submodule(convolution_name, fused)
        if type(norm) is nn.BatchNorm2d:
            folded.set_submodule(norm_name, nn.Identity())
        else:  # it may do more than normalise: timm's BatchNormAct2d applies an activation
            _neutralise(norm)
    return folded


def _check_statistics(exported: ExportedProgram) -> None:
    """Refuse a batch norm in training mode: one image's answer would depend on the others.

    Weights may be normalised in this way (weight standardisation): they are the same for every
    batch.
    """
    of_images = set(exported.graph_signature.user_inputs)
    for node in exported.graph.nodes:
        if not of_images.isdisjoint(given.name for given in node.all_input_nodes):
            of_images.add(node.name)
        if not _calls(node, "aten::batch_norm") or node.args[5] is False:
            continue
        if node.args[0].name in of_images:
            raise CheckFailed(
                f"layer '{module_of(node) or node.name}' is a batch norm in training mode: "
                "it normalises by the statistics of the batch; give it running statistics "
                "and call .eval()"
            )


@torch.no_grad()
def _neutralise(norm: nn.BatchNorm2d) -> None:
    """Make a batch norm return its input unchanged: it divides by the root of 0.5 + 0.5."""
    norm.reset_parameters()  # scale 1, shift 0, mean 0, variance 1
    assert norm.running_var is not None
    norm.running_var.fill_(0.5)
    norm.eps = 0.5  # torch 2.11 takes no epsilon of 0


def _pairs(exported: ExportedProgram) -> list[tuple[str, str]]:
    """Module names of (convolution, batch norm) that may become one."""
    signature = exported.graph_signature
    tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    pairs = []
    for norm in exported.graph.nodes:
        if not _calls(norm, "aten::batch_norm") or len(norm.args) < 5:
            continue
        convolution = norm.args[0]
        used_once = (
            _calls(convolution, "aten::conv2d")
            and len(convolution.users) == 1
            and norm.args[5] is False
            and all(_private(node) for node in (convolution.args[1], norm.args[1], norm.args[3]))
        )
        if used_once:
            weight, scale = convolution.args[1].name, norm.args[1].name
            pairs.append((_owner(tensors[weight]), _owner(tensors[scale])))
    return pairs


def _calls(node: Node, operator: str) -> bool:
    """Whether a step of the graph calls `operator`, such as aten::conv2d, in any overload."""
    name = getattr(node.target, "name", None)
    return node.op == "call_function" and callable(name) and name().split(".")[0] == operator


def _private(node: object) -> bool:
    """Whether a parameter or buffer placeholder is read by one call only."""
    return getattr(node, "op", None) == "placeholder" and len(getattr(node, "users", ())) == 1


def _owner(tensor_name: str) -> str:
    """The name of the module that a parameter or buffer belongs to."""
    return tensor_name.rpartition(".")[0]
