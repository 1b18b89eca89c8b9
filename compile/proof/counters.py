"""Numbers that count the calls of a module. They are set to what many more calls would make them.

A layer that acts at its thousandth call is found without a thousand calls, if what counts them is
a plain number: an attribute of a layer or of its class, or a global of the file of its forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from compile.network.flat import unwrapped

_MANY = sorted({10**power for power in range(2, 8)} | {2**power for power in range(8, 21)})
"""Numbers of calls, of which and of one less a counter is told."""


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A number that each call moves by the same step."""

    name: str
    """In words, such as `attribute 'head.calls'`."""
    value: float
    """At present."""
    step: float
    """What a call adds to it."""
    put: Callable[[float], None]
    """Sets it."""

    def later(self) -> Iterator[float]:
        """Values that it may have before some later call."""
        if self.value * self.step < 0:  # it falls to 0
            yield from (-self.step, 0 * self.step)
        for calls in _MANY:
            yield from (self.step * (calls - 1), self.step * calls)


def counters(module: nn.Module, call: Callable[[], object]) -> list[Counter]:
    """The counters of `module`, whose three calls by `call` find them."""
    first, second, third = (_after(module, call) for _ in range(3))
    found = []
    for key, (value, put) in third.items():
        if key not in first or key not in second:
            continue
        step = value - second[key][0]
        if step and step == second[key][0] - first[key][0]:
            found.append(Counter(name=key, value=value, step=step, put=put))
    return found


@contextmanager
def put_back(found: list[Counter]) -> Iterator[None]:
    """Leave the counters as they were found: some belong to classes and files of others."""
    try:
        yield
    finally:
        for each in found:
            each.put(each.value)


def _after(
    module: nn.Module, call: Callable[[], object]
) -> dict[str, tuple[float, Callable[[float], None]]]:
    """The numbers after one more call: their name in words, their value, and what sets it."""
    call()
    return {
        f"{where}{name}'": (value, partial(put, name))
        for where, held, put in _places(module)
        for name, value in list(held.items())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _places(
    module: nn.Module,
) -> Iterator[tuple[str, Mapping[str, Any], Callable[[str, float], None]]]:
    """What a name begins with in words, the names and values, and what sets one of them."""
    for path, layer in unwrapped(module).named_modules():
        yield f"attribute '{path}{'.' if path else ''}", vars(layer), partial(setattr, layer)
        for kind in type(layer).__mro__:
            if kind.__module__.partition(".")[0] in ("torch", "builtins"):
                continue
            yield f"attribute '{kind.__qualname__}.", vars(kind), partial(setattr, kind)
            names = getattr(vars(kind).get("forward"), "__globals__", None)
            if names is not None:
                yield f"the global '{kind.__module__}.", names, names.__setitem__
