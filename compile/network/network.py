"""The network that is compiled: a module, and what is known of it before any artifact is built."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from compile.errors import one_line
from compile.graphs.lifted import types_inside
from compile.network.checking import check_module
from compile.network.copying import own_copy
from compile.network.fold import export, fold_batch_norms
from compile.network.oracle import Oracle
from compile.network.structure import structure_sha256
from compile.network.weights import tensors_of, weights_sha256
from compile.spec import CompileSpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Network:
    """A module and the shape of one of its samples.

    What costs time is computed when it is first asked for, and kept.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, int, int]) -> None:
        """Copy `module`, which maps float32 (N, C, H, W) to (N, classes); `shape` is (C, H, W)."""
        self.module = own_copy(module)  # the caller's stays as it is
        self.shape = shape
        with one_line("the module's weights cannot be read"):
            self.weights_sha256 = weights_sha256(tensors_of(self.module))
        self.num_parameters = sum(each.numel() for each in self.module.parameters())

    @cached_property
    def structure_sha256(self) -> str:
        """A hash of the layers and of their code: other layers may have the same weights."""
        with one_line("the module's layers cannot be written out"):
            return structure_sha256(self.module)

    def check(self) -> None:
        """Run the module once.

        Raises BadArtifact for non-finite weights or a shape that the module refuses, CheckFailed
        for a module that does not map one tensor to one (batch, classes) tensor.
        """
        _ = self.num_classes

    @cached_property
    def num_classes(self) -> int:
        """Width of the output; raises what `check` raises."""
        return check_module(self.module, self._example()).shape[1]

    @cached_property
    def oracle(self) -> Oracle:
        """The network's outputs in float64, and which way they are computed."""
        return Oracle(self.module, self.shape)

    @cached_property
    def folded(self) -> nn.Module:
        """A copy of the module with its batch norms folded into its convolutions."""
        return fold_batch_norms(self.module, self._example())

    @cached_property
    def exported(self) -> ExportedProgram:
        """The graph of the folded module."""
        return export(self.folded, self._example())

    @cached_property
    def inner_types(self) -> frozenset[str]:
        """Names of the floating-point types besides float32 that its graph computes in."""
        return types_inside(self.exported)

    def _example(self) -> torch.Tensor:
        return CompileSpec(shape=self.shape).example()
