"""Which layer makes a module answer differently: both calls are recorded, layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compile.graphs.names import own_path

Same = Callable[[torch.Tensor, torch.Tensor], bool | None]
"""Whether two tensors that a layer was given, or returned, count as the same; None: no telling."""


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """One call of a layer."""

    layer: str
    """In words, such as `layer 'drop' (Dropout)`."""
    given: list[torch.Tensor]
    """Copies of the tensors among its arguments, as they were before the call."""
    returned: list[torch.Tensor]
    """Copies of the tensors that it returned."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One call of a module, layer by layer."""

    output: torch.Tensor
    calls: Mapping[tuple[str, int], LayerCall]
    """A layer's text and the number of its earlier calls -> the call; in the order they ended."""
    drawn: list[tuple[str, str]]
    """Random operators and the layer that called each: `(layer, operator)`, in order."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees each operator, while hooks tell which layer is running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack: list[tuple[str, list[torch.Tensor]]] = []
        self.calls: dict[tuple[str, int], LayerCall] = {}
        self.count: Counter[str] = Counter()
        self.drawn: list[tuple[str, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            operator = func.overloadpacket.__name__
            self.drawn.append((self.stack[-1][0] if self.stack else "", operator))
        return func(*args, **(kwargs or {}))

    def enter(self, text: str, args: Any) -> None:
        self.stack.append((text, _tensors(args)))

    def leave(self, returned: Any) -> None:
        text, given = self.stack.pop()
        call = LayerCall(layer=text, given=given, returned=_tensors(returned))
        self.calls[text, self.count[text]] = call
        self.count[text] += 1


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf.clone() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


@torch.no_grad()
def record(module: nn.Module, x: torch.Tensor) -> Recorded:
    """Call `module` with x (N, C, H, W) and keep what each of its layers was given and returned.

    All of it is held in memory.
    """
    watch = _Watch()
    handles = []
    for name, layer in module.named_modules():
        kind, path = type(layer).__name__, own_path(name)
        text = f"layer '{path}' ({kind})" if path else f"the forward of {kind}"
        handles += [
            layer.register_forward_pre_hook(
                lambda _, args, named, text=text: watch.enter(text, (args, named)),
                with_kwargs=True,
                prepend=True,
            ),
            layer.register_forward_hook(lambda _, args, returned: watch.leave(returned)),
        ]
    try:
        with watch:
            output = module(x.clone()).clone()
    finally:
        for handle in handles:
            handle.remove()
    return Recorded(output=output, calls=watch.calls, drawn=watch.drawn)


def first_apart(one: Recorded, other: Recorded, same: Same) -> LayerCall | None:
    """The first call of `one` that was given the same in `other`, and returned something else.

    Calls are looked at in the order they ended, so it is the innermost. None if there is none.
    """
    for key, call in one.calls.items():
        twin = other.calls.get(key)
        if twin is None or len(call.given) != len(twin.given):
            continue
        if not all(map(same, call.given, twin.given)):
            continue
        if len(call.returned) != len(twin.returned) or False in map(
            same, call.returned, twin.returned
        ):
            return call
    return None
