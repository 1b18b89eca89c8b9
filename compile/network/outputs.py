"""A network that returns chosen tensors: its own outputs, or those at places inside it.

A place is a module's path, `layer3`, for what the module returns, or `fc:input` for what it is
given. If a module returns several tensors, `fpn:output1` is one of a tuple and `head:boxes` one of
a dict. `:boxes` is one of those that the network itself returns.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from compile.errors import CheckFailed, UsageError
from compile.graphs.names import NETWORK
from compile.network.naming import MAX_OUTPUTS, NAME, named_tensors, tensors_in
from compile.returned import Returned

INPUT = "input"
"""Behind a path and a colon: what the module is given."""

_Seen = dict[str, dict[str, torch.Tensor]]
"""Where tensors were seen, and their names: `fpn` -> `output0`, `output1`."""


class Named(nn.Module):
    """A network that returns a tuple of tensors, or a tensor if there is one.

    `places` maps names to the places of what is returned under them; "" is the one tensor that the
    network itself returns. None: every tensor that the network returns.
    """

    def __init__(self, network: nn.Module, places: Mapping[str, str] | None) -> None:
        super().__init__()
        if places is not None:
            _check_places(network, places)
        self.add_module(NETWORK, network)
        self.places = None if places is None else dict(places)
        self.overwritten: frozenset[str] = frozenset()
        """Where a later step, such as an in-place ReLU, overwrites a tensor. It is copied there."""

    def forward(self, x: torch.Tensor) -> Returned:
        """(N, C, H, W) -> one tensor (N, ...), or several."""
        tensors = tuple(self.named(x).values())
        return tensors[0] if len(tensors) == 1 else tensors

    def named(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The same by their names."""
        network = inside(self)
        if self.places is None:
            return named_tensors(network(x))
        with _watched(network, self.places.values(), self.overwritten) as seen:
            network(x)
        return {name: _only(seen, place) for name, place in self.places.items()}

    def find_overwritten(self, x: torch.Tensor) -> None:
        """Run the network once, and note where tensors have to be copied from now on."""
        versions: dict[str, list[int]] = {}
        with _watched(inside(self), (self.places or {}).values(), versions=versions) as seen:
            inside(self)(x)
        self.overwritten = frozenset(
            where
            for where, noted in versions.items()
            if [tensor._version for tensor in seen[where].values()] != noted
        )


def inside(wrapper: nn.Module) -> nn.Module:
    """The network that a wrapper holds."""
    network = wrapper._modules[NETWORK]
    assert network is not None
    return network


@contextmanager
def _watched(
    network: nn.Module,
    places: Iterable[str],
    overwritten: frozenset[str] = frozenset(),
    versions: dict[str, list[int]] | None = None,
) -> Iterator[_Seen]:
    """Inside this context, note the tensors at each place whenever the network runs.

    Those at `overwritten` are copied at once. `versions` receives how often each tensor had been
    written to at that time.
    """
    seen: _Seen = {}

    def note(where: str, value: object) -> None:
        tensors = dict(tensors_in(value))
        if versions is not None:
            versions[where] = [tensor._version for tensor in tensors.values()]
        if where in overwritten:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        seen[where] = tensors

    handles = []
    for where in sorted({_where(place) for place in places}):
        path, _, given = where.partition(":")
        layer = network.get_submodule(path)
        if given:
            handle = layer.register_forward_pre_hook(
                lambda _, args, where=where: note(where, args[0])
            )
        else:
            handle = layer.register_forward_hook(
                lambda _, args, returned, where=where: note(where, returned)
            )
        handles.append(handle)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _where(place: str) -> str:
    """Where the tensor of a place is seen: `fpn` for `fpn:output1`."""
    path, _, part = place.partition(":")
    return place if part == INPUT else path


def _only(seen: _Seen, place: str) -> torch.Tensor:
    """The one tensor at a place."""
    path, _, part = place.partition(":")
    module = f"module '{path}'" if path else "the network itself"
    tensors = seen.get(_where(place))
    if tensors is None:
        raise CheckFailed(f"{module} is not run, so it has no output; name another module")
    if part not in ("", INPUT):
        if part not in tensors:
            raise CheckFailed(f"{module} returns no tensor '{part}'; it returns {_list(tensors)}")
        return tensors[part]
    if len(tensors) != 1:
        one = f"; name one of them, such as {path}:{next(iter(tensors))}" if tensors else ""
        raise CheckFailed(f"{module} returns {len(tensors) or 'no'} tensors{one}")
    return next(iter(tensors.values()))


def _list(names: Iterable[str]) -> str:
    return ", ".join([*names][:MAX_OUTPUTS])


def _check_places(network: nn.Module, places: Mapping[str, str]) -> None:
    """Raise UsageError for a name that cannot be used, or a module that is not there."""
    paths = [path for path, _ in network.named_modules() if path]
    if not 1 <= len(places) <= MAX_OUTPUTS:
        raise UsageError(f"{len(places)} outputs were named; name 1 to {MAX_OUTPUTS}")
    for name, place in places.items():
        if not NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' cannot be the name of an output; use letters, digits, '.', '_' and '-'"
            )
        path, _, part = place.partition(":")
        if path not in ["", *paths] or (not path and part == INPUT):
            near = difflib.get_close_matches(path, paths, 3) or paths[:3]
            raise UsageError(
                f"output '{name}': the network has no module '{path}'; it has {', '.join(near)}, "
                f"and {max(0, len(paths) - len(near))} more"
            )
