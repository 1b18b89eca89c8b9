"""Look at a module before anything is built: what it takes, what it returns, what it raises."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import torch
from torch import nn

from compile.errors import BadArtifact, CheckFailed, first_line
from compile.network.layers import layer_text
from compile.network.weights import check_finite, tensors_of

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

_OF_SHAPES = ("shape", "size", "channel", "dimension")
"""Words of errors about a wrong input shape."""

_OF_TYPES = ("double", "bfloat16", "half", "dtype")
"""The same for errors about a wrong number type."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_module(module: nn.Module, example: torch.Tensor) -> torch.Tensor:
    """Run `module` once and return its output (N, classes); refuse what cannot be compiled.

    Raises BadArtifact for non-finite weights and for a module that does not take the example,
    CheckFailed for one that does not return one (N, classes) tensor.
    """
    check_finite(_that_may_not_be_infinite(module))
    _check_inputs(module)
    shape = "x".join(map(str, example.shape))
    kept = example.clone()
    with torch.no_grad(), quiet_torch(), blame(module) as blamed:
        try:
            output = module(example)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            reason = first_line(error)
            hint = (
                "give the shape it was made for with --input"
                if any(word in reason.lower() for word in _OF_SHAPES)
                else "call .float() on the module"
                if any(word in reason.lower() for word in _OF_TYPES)
                else f"call the module itself on torch.randn{tuple(example.shape)} to see where"
            )
            raise BadArtifact(
                f"{blamed} refuses a float32 input of {shape}: {reason}; {hint}"
            ) from error
    if not isinstance(output, torch.Tensor):
        size = f" of {len(output)}" if isinstance(output, tuple | list | dict) else ""
        kind = "nothing" if output is None else f"a {type(output).__name__}{size}"
        raise CheckFailed(
            f"the module returns {kind}; it must return one tensor "
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


def _that_may_not_be_infinite(module: nn.Module) -> dict[str, torch.Tensor]:
    """Weights, and buffers that hold a NaN: a mask of minus infinity is a buffer like any other."""
    masks = {name for name, each in module.named_buffers() if not bool(each.isnan().any())}
    return {name: each for name, each in tensors_of(module).items() if name not in masks}


def _check_inputs(module: nn.Module) -> None:
    """Refuse a forward that needs more than one image tensor, or takes none."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # written in C, or wrapped beyond recognition
        return
    needed = [each for each in parameters if each.default is inspect.Parameter.empty]
    inputs = [each.name for each in needed if each.kind in _POSITIONAL]
    keywords = [each.name for each in needed if each.kind is inspect.Parameter.KEYWORD_ONLY]
    if len(inputs) > 1:
        raise BadArtifact(
            f"the module takes {len(inputs)} inputs ({', '.join(inputs)}); it must take one image "
            "tensor: wrap it in a module that fixes the others"
        )
    if keywords:
        raise BadArtifact(
            f"the module's forward needs the keyword {', '.join(map(repr, keywords))} besides its "
            "input; it must take one image tensor: wrap it in a module that gives the keyword"
        )
    if not any(
        each.kind in (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL) for each in parameters
    ):
        raise BadArtifact("the module's forward takes no input; it must take one image tensor")


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
        text = layer_text(name, layer)
        enter = layer.register_forward_pre_hook(  # before the layer's own, which may raise
            lambda *_: blamed.stack.append(text), prepend=True
        )
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
    """Silence torch, which logs and prints whole graphs when an export fails. Silence modules that
    print or warn, too. The errors say enough.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with redirect_stdout(nowhere), redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
