"""Look at a module before anything is built: what it takes, what it returns, what it raises."""

from __future__ import annotations

import inspect
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import torch
from torch import nn

from compile.errors import BadArtifact, CheckFailed, first_line
from compile.network.weights import check_finite

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


def check_module(module: nn.Module, example: torch.Tensor) -> torch.Tensor:
    """Run `module` once and return its output (N, classes); refuse what cannot be compiled.

    Raises BadArtifact for non-finite weights and for a module that does not take the example,
    CheckFailed for one that does not return one (N, classes) tensor.
    """
    check_finite(module.state_dict())
    inputs = _required_inputs(module)
    if len(inputs) > 1:
        raise BadArtifact(
            f"the module takes {len(inputs)} inputs ({', '.join(inputs)}); it must take one image "
            "tensor: wrap it in a module that fixes the others"
        )
    shape = "x".join(map(str, example.shape))
    kept = example.clone()
    with torch.no_grad(), blame(module) as blamed:
        try:
            output = module(example)
        except Exception as error:
            raise BadArtifact(
                f"{blamed} refuses a float32 input of {shape}: {first_line(error)}; "
                "give the shape it was made for with --input"
            ) from error
    if not isinstance(output, torch.Tensor):
        size = f" of {len(output)}" if isinstance(output, tuple | list | dict) else ""
        raise CheckFailed(
            f"the module returns a {type(output).__name__}{size}; it must return one tensor "
            "(batch, classes): wrap it in a module that picks the one to compile"
        )
    if output.dtype != torch.float32:
        kind = str(output.dtype).removeprefix("torch.")
        raise CheckFailed(f"the module returns {kind}; it must return float32: call .float() last")
    if not torch.equal(example, kept):
        raise CheckFailed("the module writes into its input; clone it first in forward")
    if output.ndim == 2 and output.shape[1] == 1:
        raise CheckFailed(
            "the module returns one value; the proof compares classes and needs two or more"
        )
    if output.ndim != 2 or len(output) != len(example):
        raise CheckFailed(
            f"the module returns {tuple(output.shape)} for a batch of {len(example)}; it must "
            "return (batch, classes): wrap it in a module that flattens"
        )
    if not any(layer.ndim > 1 for layer in module.parameters()):
        raise CheckFailed("the module has no weights, so there is nothing to prove or to compile")
    return output


def _required_inputs(module: nn.Module) -> list[str]:
    """Names of the inputs that `forward` has no default for."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # written in C, or wrapped beyond recognition
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        each.name
        for each in parameters
        if each.kind in positional and each.default is inspect.Parameter.empty
    ]


class Blamed:
    """The layers that were being called; its text names the innermost of them."""

    def __init__(self) -> None:
        self.stack: list[str] = []

    def __str__(self) -> str:
        return self.stack[-1] if self.stack else "the module"


@contextmanager
def blame(module: nn.Module) -> Iterator[Blamed]:
    """Watch which layer of `module` is running, to name it when it raises."""
    blamed = Blamed()

    def watch(name: str, layer: nn.Module) -> list[RemovableHandle]:
        text = f"layer '{name}' ({type(layer).__name__})"
        enter = layer.register_forward_pre_hook(lambda *_: blamed.stack.append(text))
        leave = layer.register_forward_hook(lambda *_: blamed.stack.remove(text))
        return [enter, leave]

    handles = [
        each for name, layer in module.named_modules() if name for each in watch(name, layer)
    ]
    try:
        yield blamed
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence torch: it logs and prints whole graphs of a failing export. Its error says more."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(before)
