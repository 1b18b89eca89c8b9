"""The answers that count as correct: a network's outputs in float64, by the best way there is.

A module that is written for float32 may not run in float64 as it stands, or may round inside.
docs/parity.md, "The oracle", says which ways are tried, and why there is none in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compile.errors import CheckFailed, first_line
from compile.graphs.lifted import LIFTED, float64_by_default, lift
from compile.network.checking import Blamed, blame, quiet_torch
from compile.network.copying import copied
from compile.network.fake_quantised import FakeQuantised
from compile.spec import CompileSpec

MODULE = "float64"
"""The kind of oracle that runs the module itself in float64."""

GRAPH = "float64-graph"
"""The kind that runs its exported graph, with its constants and casts lifted to float64."""

_ROUNDING = 1e-3
"""How far the graph in float64 may be from the module in float32, as a share of the output's size:
far above the rounding of float32, far below the mistake of a graph that computes something else."""

_FAR = 1e-2
"""The same for each ordinary image, of which one may lose more digits than the example does."""

_STEPS = 8.0
"""The same where a part computes in bfloat16 or float16, in rounding steps of that."""


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """What one way gave for the example."""

    output: torch.Tensor | None = None
    """(1, classes); None if it broke."""
    fault: str | None = None
    """Why it is not the oracle, or is the oracle only if nothing better is found."""
    rounds: bool = False
    """Whether it rounds float64 values to a smaller type inside."""


class Oracle:
    """A network's outputs in float64.

    The module and the shape (C, H, W) of one sample decide which way is taken, once, when it is
    first asked for.
    """

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, int, int],
        columns: Sequence[slice] = (slice(None),),
    ) -> None:
        """`columns` are those of each output, in the rows that the module returns."""
        self.module = module
        self.shape = shape
        self.columns = columns
        self.allowed = _FAR
        """How far the module in float32 may be from this on ordinary images, as a share of the
        answer's size. More where a part of it computes in a half type."""

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """The outputs (N, classes) float64 for `pixels` (N, C, H, W), each row by itself.

        Raises CheckFailed for a module that has no oracle, or that breaks on one of the rows.
        """
        answers = []
        for answer in self.answers(pixels):
            if isinstance(answer, str):
                raise CheckFailed(f"the oracle: {answer}")
            answers.append(answer)
        return torch.cat(answers)

    def answers(self, pixels: torch.Tensor) -> list[torch.Tensor | str]:
        """For each row the output (1, classes) float64, or in words why there is none.

        One row at a time: a program for batch 1 may come from a module that takes no other.
        Raises CheckFailed for a module that has no oracle.
        """
        module = self._graph(self._example())[0] if self.kind == GRAPH else _in_float64(self.module)
        with _watched(module) as blamed:
            return [_answer(module, blamed, row) for row in torch.split(pixels.double(), 1)]

    def together(self, pixels: torch.Tensor) -> torch.Tensor:
        """The outputs (N, classes) float64 for `pixels` (N, C, H, W), all rows in one batch.

        Raises whatever the module raises for a batch that it does not take.
        """
        module = _in_float64(self.module) if self.kind == MODULE else self._graph(pixels.float())[0]
        with _watched(module):
            output: torch.Tensor = module(pixels.double())
        return output.double()

    @cached_property
    def kind(self) -> str:
        """MODULE or GRAPH. Raises CheckFailed for a module that can be neither."""
        example = self._example()
        with torch.no_grad(), quiet_torch():
            single = self.module(example.clone())
        by_module = self._try_module(example, single)
        if by_module.fault is None:
            return MODULE
        by_graph = self._try_graph(example, single)
        if by_graph.fault is None:
            return GRAPH
        if by_module.output is not None and not by_module.rounds:
            return MODULE  # it made a constant in float32, or float32 itself is far off
        raise CheckFailed(
            f"the proof needs the module's answers in float64, but {by_module.fault}, and "
            f"{by_graph.fault}; in forward, take the type from the input: x.to(y.dtype) instead "
            "of x.float()"
        )

    def _graph(self, example: torch.Tensor) -> tuple[nn.Module, set[torch.dtype]]:
        """The module's graph, exported for the shape of `example` and lifted.

        The second value is the smaller types that it computed in.
        """
        with torch.no_grad(), quiet_torch():
            graph = torch.export.export(copied(self.module), (example,), strict=False).module()
            return graph, lift(graph)

    def _example(self) -> torch.Tensor:
        return CompileSpec(shape=self.shape).example()

    def _try_module(self, example: torch.Tensor, single: torch.Tensor) -> _Tried:
        """The answer of the module itself in float64; a fault where it rounds, or is far off."""
        try:
            double = _in_float64(self.module)
            with _watched(double) as blamed, _Rounding(blamed) as rounding:
                output = _answer(double, blamed, example.double())
        except Exception as error:
            return _Tried(fault=f"the module cannot be cast to it: {first_line(error)}")
        if isinstance(output, str):
            return _Tried(fault=output)
        if rounding.cast or rounding.made:
            return _Tried(
                output=output, fault=rounding.cast or rounding.made, rounds=bool(rounding.cast)
            )
        far = _far(output, single, _ROUNDING, self.columns)
        return _Tried(output=output, fault=far and f"the module in float64 {far}")

    def _try_graph(self, example: torch.Tensor, single: torch.Tensor) -> _Tried:
        """The exported graph's answer; a fault unless it agrees with the module in float32."""
        try:
            graph, lifted = self._graph(example)
            with _watched(graph):
                output = graph(example.double())
        except Exception as error:
            return _Tried(fault=f"its exported graph breaks in float64: {first_line(error)}")
        halves = lifted & {torch.bfloat16, torch.float16}
        steps = max((_STEPS * torch.finfo(each).eps for each in halves), default=0.0)
        self.allowed = max(self.allowed, steps)
        far = _far(output, single, max(_ROUNDING, steps), self.columns)
        return _Tried(output=output, fault=far and f"its exported graph in float64 {far}")


def oracle(module: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """The module's outputs in float64: (N, C, H, W) -> (N, classes)."""
    _, channels, height, width = pixels.shape
    return Oracle(module, (channels, height, width))(pixels)


def oracle_on_grid(exact: FakeQuantised, rows: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """The answers of a fake-quantised graph that computes in float64, as `simulated` makes it.

    `rows` is that graph, or a module around it that joins its outputs.
    """
    lift(exact.network)
    with _watched(rows):
        return torch.cat([rows(row) for row in torch.split(pixels.double(), 1)])


@contextmanager
def _watched(module: nn.Module) -> Iterator[Blamed]:
    """Run a module in float64, and know which of its layers is at work."""
    with torch.no_grad(), quiet_torch(), float64_by_default(), blame(module) as blamed:
        yield blamed


def _in_float64(module: nn.Module) -> nn.Module:
    return copied(module).cpu().double().eval()


def _answer(module: nn.Module, blamed: Blamed, row: torch.Tensor) -> torch.Tensor | str:
    blamed.stack.clear()
    try:
        output: torch.Tensor = module(row.clone())
    except Exception as error:  # an eigenvalue of nothing, say
        return f"{blamed} breaks in float64: {first_line(error)}"
    return output.double()


def _far(
    output: torch.Tensor, single: torch.Tensor, share: float, columns: Sequence[slice]
) -> str | None:
    """How far float64 is from what the module gives in float32, in words; None if it is near.

    Each output is measured by its own size.
    """
    for own in columns:
        one, other = output[:, own], single[:, own].double()
        size, error = other.square().mean().sqrt(), (one - other).square().mean().sqrt()
        if bool(torch.isfinite(size)) and not bool(error <= share * size):
            return f"is {float(error / size):.1e} of the output's size away from float32"
    return None


class _Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notices values that are rounded to a smaller float, while it is on."""

    def __init__(self, blamed: Blamed) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.blamed = blamed
        self.cast: str | None = None
        """Where float64 values were rounded, in words."""
        self.made: str | None = None
        """Where values were made in a smaller type from nothing, or from integers."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        given = kwargs or {}
        output = func(*args, **given)
        small = next((each for each in _types(output) if each in LIFTED), None)
        if small is not None:
            kind = str(small).removeprefix("torch.")
            if torch.float64 in _types((args, given)):
                self.cast = self.cast or f"{self.blamed} rounds to {kind} inside"
            else:
                self.made = self.made or f"{self.blamed} computes in {kind} inside"
        return output


def _types(values: Any) -> set[torch.dtype]:
    leaves = (values,) if isinstance(values, torch.Tensor) else tree_leaves(values)
    return {each.dtype for each in leaves if isinstance(each, torch.Tensor)}
