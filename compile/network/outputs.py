"""What a network returns: find its tensors, name them, and choose which values a proof looks at."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from compile.artifact.outputs import Layout, Output
from compile.errors import CheckFailed, UsageError
from compile.graphs.names import NETWORK
from compile.returned import Returned
from compile.spec import ROWS

SCORES = "logits"
"""The name of a network's only output if it holds the scores of classes."""

OTHER = "output"
"""Its name if it holds anything else. Those of a tuple are numbered: output0, output1."""

INPUT_OF = ":input"
"""After a module's path: not what the module returns, but what it is given."""

MAX_OUTPUTS = 16

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")

_MOST_BYTES = 32 * 2**20
"""Of golden.safetensors, where outputs are thinned to make it fit."""

_LEAST_BYTES = 4 * 2**20
"""Of the answers in it, however large its inputs are."""

_ROWS = ROWS + 8
"""Rows of it: the ordinary samples, and at most so many hostile ones."""


class Named(nn.Module):
    """A network that returns a tuple of tensors, or a tensor if there is one.

    `places` maps names to what is returned under them: the path of a module for what that module
    returns, with `:input` behind it for what it is given, "" for what the network itself returns.
    None: every tensor that the network returns.
    """

    def __init__(self, network: nn.Module, places: Mapping[str, str] | None) -> None:
        super().__init__()
        if places is not None:
            _check_places(network, places)
        self.add_module(NETWORK, network)
        self.places = None if places is None else dict(places)
        self.overwritten: frozenset[str] = frozenset()
        """Places whose tensor a later step writes into: by an in-place ReLU, say. It is copied."""

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
            seen[""] = network(x)
        return {name: _only(seen, place) for name, place in self.places.items()}

    def find_overwritten(self, x: torch.Tensor) -> None:
        """Run the network once, and note which places have to be copied from now on."""
        versions: dict[str, int] = {}
        with _watched(inside(self), (self.places or {}).values(), versions=versions) as seen:
            inside(self)(x)
        self.overwritten = frozenset(
            place for place, version in versions.items() if seen[place]._version != version
        )


def inside(wrapper: nn.Module) -> nn.Module:
    """The network that a wrapper holds."""
    network = wrapper._modules[NETWORK]
    assert network is not None
    return network


def named_tensors(returned: Any) -> dict[str, torch.Tensor]:
    """The tensors of what a network returns, by name, in their order; None is left out.

    A dict's keys and a named tuple's fields are names, those inside others joined by a dot. Raises
    CheckFailed for anything else than tensors, and for names that cannot be used.
    """
    found: dict[str, torch.Tensor] = {}
    for name, tensor in _walk(returned, ""):
        if not _NAME.fullmatch(name) or name in found:
            fault = "occurs twice" if name in found else "cannot be a name"
            raise CheckFailed(
                f"the module returns a tensor called {name!r}, which {fault}; use keys of letters, "
                "digits, '.', '_' and '-'"
            )
        found[name] = tensor
    if not 1 <= len(found) <= MAX_OUTPUTS:
        raise CheckFailed(
            f"the module returns {len(found) or 'no'} tensors; it may return 1 to {MAX_OUTPUTS}"
        )
    return found


def _walk(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        only = SCORES if value.ndim == 2 and value.shape[1] > 1 else OTHER
        yield name or only, value
        return
    if value is None and name:
        return
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, tuple | list):
        fields = getattr(value, "_fields", None)
        start = "" if name else OTHER
        items = zip(fields or (f"{start}{i}" for i in range(len(value))), value, strict=True)
    else:
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise CheckFailed(
            f"the module returns {kind}; it must return a tensor, or a tuple or dict of tensors"
        )
    for key, inner in items:
        yield from _walk(inner, f"{name}.{key}" if name else str(key))


@contextmanager
def _watched(
    network: nn.Module,
    places: Iterable[str],
    overwritten: frozenset[str] = frozenset(),
    versions: dict[str, int] | None = None,
) -> Iterator[dict[str, Any]]:
    """While it is on, note what stands at each place when the network runs.

    What stands at the places `overwritten` is copied at once. `versions` takes in how often a
    tensor had been written to then.
    """
    seen: dict[str, Any] = {}

    def note(place: str, value: Any) -> None:
        if versions is not None and isinstance(value, torch.Tensor):
            versions[place] = value._version
        seen[place] = value.clone() if place in overwritten else value

    handles = []
    for place in set(places) - {""}:
        layer = network.get_submodule(place.removesuffix(INPUT_OF))
        if place.endswith(INPUT_OF):
            handle = layer.register_forward_pre_hook(
                lambda _, args, place=place: note(place, args[0])
            )
        else:
            handle = layer.register_forward_hook(
                lambda _, args, returned, place=place: note(place, returned)
            )
        handles.append(handle)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _only(seen: Mapping[str, Any], place: str) -> torch.Tensor:
    """The one tensor at a place."""
    where = f"module '{place}'" if place else "the network itself"
    if place not in seen:
        raise CheckFailed(f"{where} is not run, so it has no output; name another module")
    tensors = named_tensors(seen[place])
    if len(tensors) > 1:
        raise CheckFailed(f"{where} returns {len(tensors)} tensors; name a module that returns one")
    return next(iter(tensors.values()))


def _check_places(network: nn.Module, places: Mapping[str, str]) -> None:
    """Raise UsageError for a name that cannot be used, or a module that is not there."""
    paths = [path for path, _ in network.named_modules() if path]
    if not 1 <= len(places) <= MAX_OUTPUTS:
        raise UsageError(f"{len(places)} outputs were named; name 1 to {MAX_OUTPUTS}")
    for name, place in places.items():
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' cannot be the name of an output; use letters, digits, '.', '_' and '-'"
            )
        path = place.removesuffix(INPUT_OF)
        if path not in ["", *paths] or place == INPUT_OF:
            near = difflib.get_close_matches(path, paths, 3) or paths[:3]
            raise UsageError(
                f"output '{name}': the network has no module '{path}'; it has {', '.join(near)}, "
                f"and {max(0, len(paths) - len(near))} more"
            )


def layout_of(
    tensors: Mapping[str, torch.Tensor], *, asked: bool, classes: int | None, input_bytes: int
) -> Layout:
    """The layout of outputs (N, ...) by their names.

    Args:
        tensors: what the network returned for some input.
        asked: whether the outputs were asked for by name.
        classes: how many class names are known, or None.
        input_bytes: size of one sample of the input.
    """
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    parts = sum(2 * Output(name=name, shape=shape).groups for name, shape in shapes.items())
    room = max(_LEAST_BYTES, _MOST_BYTES - _ROWS * (input_bytes + 8 * parts)) // (8 * (_ROWS + 1))
    shares = _shares([math.prod(shape) for shape in shapes.values()], room)
    outputs = []
    for (name, shape), share in zip(shapes.items(), shares, strict=True):
        only = len(shapes) == 1 and not asked
        is_vector = len(shape) == 1 and shape[0] > 1
        scores = is_vector and (only or name == SCORES or shape[0] == classes)
        positions = _positions(shape, share) if share < math.prod(shape) else None
        outputs.append(Output(name=name, shape=shape, scores=scores, positions=positions))
    return Layout(outputs)


def _shares(sizes: Sequence[int], room: int) -> list[int]:
    """How many values of each output are looked at: all of the small ones, and then alike."""
    shares = [0] * len(sizes)
    for done, i in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[i] = min(sizes[i], max(1, room // (len(sizes) - done)))
        room -= shares[i]
    return shares


def _positions(shape: tuple[int, ...], share: int, seed: int = 0) -> torch.Tensor:
    """At most `share` positions of a sample, drawn with a seed, ascending: (P,) int64.

    Of each channel the corners, then in equal parts of the border and of the interior. If there
    are more channels than that allows, of some channels.
    """
    generator = torch.Generator().manual_seed(seed)
    channels, sites = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, shape[0])
    corners, border, interior = _regions(shape[1:] if len(shape) > 1 else shape)
    fewest = min(sites, len(corners) + 2)
    looked_at = torch.arange(channels)
    if channels * fewest > share:
        chosen = torch.randperm(channels, generator=generator)[: max(1, share // fewest)]
        looked_at = chosen.sort().values
    each = min(sites, share // len(looked_at))
    inside = min(len(interior), max(each - len(corners) - len(border), (each - len(corners)) // 2))
    outside = min(len(border), each - len(corners) - inside)
    found = []
    for channel in looked_at.tolist():
        drawn = [
            places[torch.randperm(len(places), generator=generator)[:count]]
            for places, count in ((border, outside), (interior, inside))
        ]
        found.append(channel * sites + torch.cat([corners, *drawn])[:each])
    return torch.cat(found).sort().values


def _regions(extents: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Flat places of one channel: its corners, the rest of its border, its interior."""
    places = torch.arange(math.prod(extents))
    edges = torch.stack(
        [
            (index == 0) | (index == extent - 1)
            for index, extent in zip(torch.unravel_index(places, extents), extents, strict=True)
        ]
    )
    corner, border = edges.all(dim=0), edges.any(dim=0)
    return places[corner], places[border & ~corner], places[~border]
