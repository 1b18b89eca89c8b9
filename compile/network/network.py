"""The network that is compiled: a module, and what is known of it before any artifact is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compile.artifact.outputs import Layout
from compile.errors import one_line
from compile.graphs.lifted import types_inside
from compile.network.checking import check_module, quiet_torch
from compile.network.copying import own_copy
from compile.network.flat import Flat
from compile.network.fold import export, fold_batch_norms
from compile.network.naming import named_tensors
from compile.network.oracle import Oracle
from compile.network.outputs import Named
from compile.network.structure import structure_sha256
from compile.network.thinning import layout_of
from compile.network.weights import tensors_of, weights_sha256
from compile.spec import CompileSpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Network:
    """A module and the shape of one of its samples.

    What costs time is computed when it is first asked for, and kept.
    """

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, int, int],
        *,
        outputs: Mapping[str, str] | None = None,
        classes: int | None = None,
    ) -> None:
        """Copy `module`, which takes float32 (N, C, H, W); `shape` is (C, H, W).

        `outputs` are the places whose values are returned, by name, as `Named` has them; None for
        what the module returns. `classes` is how many class names are known. Raises UsageError for
        places that the module does not have.
        """
        self.given = own_copy(module)  # the caller's stays as it is
        self.shape = shape
        self.outputs = outputs
        self.classes = classes
        self._named = Named(self.given, outputs) if outputs is not None else None
        with one_line("the module's weights cannot be read"):
            self.weights_sha256 = weights_sha256(tensors_of(self.given))
        self.num_parameters = sum(each.numel() for each in self.given.parameters())

    @cached_property
    def structure_sha256(self) -> str:
        """A hash of the layers and of their code: other layers may have the same weights."""
        with one_line("the module's layers cannot be written out"):
            return structure_sha256(self.given)

    def check(self) -> None:
        """Run the module once.

        Raises BadArtifact for non-finite weights or a shape that the module refuses, CheckFailed
        for a module that does not map one tensor to float32 tensors (batch, ...).
        """
        _ = self._returned

    @cached_property
    def layout(self) -> Layout:
        """The outputs, and which of their values the proof looks at; raises what `check` raises."""
        return layout_of(
            named_tensors(self._returned),
            asked=self.outputs is not None,
            classes=self.classes,
            input_bytes=4 * math.prod(self.shape),
        )

    @cached_property
    def _returned(self) -> Any:
        """What the module returns for the example."""
        returned = check_module(self.given, self._example(), self._named)
        if self._named is not None:
            with torch.no_grad(), quiet_torch():
                self._named.find_overwritten(self._example())
        return returned

    def compiled(self, module: nn.Module) -> nn.Module:
        """The given module, or a copy of it, as a backend compiles it.

        It returns one tensor, or a tuple of them.
        """
        if isinstance(self._returned, torch.Tensor):
            return module
        named = Named(module, self.outputs)
        if self._named is not None:
            named.overwritten = self._named.overwritten
        return named

    def in_rows(self, compiled: nn.Module) -> Flat:
        """A module as `compiled` makes it, or a folded or quantised one, with its outputs in rows:
        (N, C, H, W) -> (N, layout.width), all that a proof looks at.
        """
        return Flat(compiled, self.layout)

    @cached_property
    def module(self) -> Flat:
        """The given module, with its outputs in rows."""
        return self.in_rows(self.compiled(self.given))

    @cached_property
    def oracle(self) -> Oracle:
        """The rows in float64, and which way they are computed."""
        return Oracle(self.module, self.shape, self.layout.columns)

    @cached_property
    def folded(self) -> nn.Module:
        """A copy of what is compiled, with its batch norms folded into its convolutions."""
        folded = fold_batch_norms(self.module, self._example(), self.layout.columns)
        assert isinstance(folded, Flat)
        return folded.network

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
