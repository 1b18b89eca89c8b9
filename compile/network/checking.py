"""Look at a module before anything is built: what it takes, what it returns, what it raises."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compile.errors import BadArtifact, CheckFailed, first_line
from compile.network.layers import layer_text
from compile.network.naming import named_tensors
from compile.network.weights import check_finite, tensors_of

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from compile.network.outputs import Named

_OF_SHAPES = ("shape", "size", "channel", "dimension")
"""Words of errors about a wrong input shape."""

_OF_TYPES = ("double", "bfloat16", "half", "dtype")
"""The same for errors about a wrong number type."""

_MOST_DIMENSIONS = 9
"""Of an output, its batch included."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_module(
    module: nn.Module, example: torch.Tensor, named: Named | None = None
) -> torch.Tensor | Mapping[str, Any]:
    """Run `module` once and return what it returned; refuse what cannot be compiled.

    If `named` is given, it is run instead: it picks the outputs.

    Raises BadArtifact for non-finite weights and for a module that does not take the example,
    CheckFailed for one that does not return float32 tensors (N, ...).
    """
    check_finite(_that_may_not_be_infinite(module))
    _check_inputs(module)
    kept = example.clone()
    returned = _run(module, example, module if named is None else named.named)
    _check_tensors(named_tensors(returned), len(example))
    if not torch.equal(example, kept):
        raise CheckFailed("the module writes into its input; clone it first in forward")
    if not any(layer.ndim > 1 for layer in module.parameters()):
        raise CheckFailed("the module has no weights, so there is nothing to prove or to compile")
    return returned


def _run(module: nn.Module, example: torch.Tensor, call: Callable[[torch.Tensor], Any]) -> Any:
    """Call something that runs the module; a line that names the layer where it breaks."""
    with torch.no_grad(), quiet_torch(), blame(module) as blamed:
        try:
            return call(example)
        except (CheckFailed, KeyboardInterrupt):
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
            shape = "x".join(map(str, example.shape))
            raise BadArtifact(
                f"{blamed} refuses a float32 input of {shape}: {reason}; {hint}"
            ) from error


def _check_tensors(tensors: Mapping[str, torch.Tensor], batch: int) -> None:
    """Raise CheckFailed for outputs that are not float32 (batch, ...), with at least one value."""
    for name, tensor in tensors.items():
        what = "the module returns" if len(tensors) == 1 else f"the module's output '{name}' is"
        if tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            last = "torch.view_as_real(x)" if tensor.is_complex() else "x.float()"
            raise CheckFailed(f"{what} {kind}; it must be float32: return {last}")
        if tensor.layout != torch.strided:
            raise CheckFailed(f"{what} sparse; it must be dense: return x.to_dense()")
        if tensor.ndim == 0 or len(tensor) != batch or tensor.numel() == 0:
            raise CheckFailed(
                f"{what} {tuple(tensor.shape)} for a batch of {batch}; the first dimension must be "
                "the batch, and none may be 0"
            )
        if tensor.ndim > _MOST_DIMENSIONS:
            raise CheckFailed(
                f"{what} of {tensor.ndim} dimensions; at most {_MOST_DIMENSIONS} are allowed"
            )


def _that_may_not_be_infinite(module: nn.Module) -> dict[str, torch.Tensor]:
    """All but masks of minus infinity: buffers, or weights that nobody trains, without a NaN."""
    kept = [*module.named_buffers(), *module.named_parameters()]
    masks = {name for name, each in kept if not each.requires_grad and not bool(each.isnan().any())}
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
