"""Which outputs of a network to compile: names on the command line become places in the network.

`c3,c4` are names of feature levels, `layer3` is the path of a module and `mid=layer3.0.conv2` a
path with a name. If the network returns several tensors, each has a name too. A place is a module's
path, for what the module returns, `PATH:input`, for the first tensor that it is given, or
`PATH:KEY`, for one tensor of several that it returns. Importing this imports no torch.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.models.levels import levels

if TYPE_CHECKING:
    from torch import nn

    from zoo.sources.source import Source

LOGITS = "logits"
"""What the network itself returns."""

LIST = "list"
"""Stands in the place of the names to ask which there are."""

MAX_OUTPUTS = 16
MAX_LETTERS = 150
"""Of all names: they stand in the name of the artifact's folder."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_INPUT = ":input"
_WHOLE = ("", "input")
"""Behind a place's colon: no single one of the tensors that a module returns."""

Wanted = dict[str, str | None]
"""Name -> place; None where the name itself says which place."""


def parse_outputs(given: Iterable[str]) -> Wanted:
    """Read `c3,c4` and `mid=layer3.0.conv2`; UsageError for what cannot be meant in any network."""
    wanted: Wanted = {}
    for word in [word.strip() for words in given for word in words.split(",")]:
        name, equals, place = word.partition("=")
        _, colon, part = name.rpartition(":")
        if not equals and colon:
            one = "features" if part == "input" else part if _NAME.fullmatch(part) else "mine"
            raise UsageError(f"--output {word} needs a name, such as {one}={word}")
        if not _NAME.fullmatch(name) or (equals and not place):
            raise UsageError(
                f"--output '{word}' is not a name or NAME=PATH; write c4, layer3 or "
                "mid=layer3.0.conv2, with commas between several"
            )
        if name in wanted:
            raise UsageError(f"--output names '{name}' twice; give each output a name of its own")
        wanted[name] = place if equals else None
    if LIST in wanted and wanted[LIST] is None:
        raise UsageError(f"--output {LIST} stands alone: it shows what there is and builds nothing")
    if len(wanted) > MAX_OUTPUTS:
        raise UsageError(f"--output names {len(wanted)} outputs; the most are {MAX_OUTPUTS}")
    if len("+".join(wanted)) > MAX_LETTERS:
        raise UsageError(
            f"the names of --output are longer than {MAX_LETTERS} letters, too long for a "
            "folder's name; shorten them, as in mid=layer3.0.conv2"
        )
    return wanted


def find_outputs(source: Source, wanted: Wanted) -> dict[str, str] | None:
    """Name -> place for what was asked for; None if nothing was, for what the network returns.

    The network is run, unless names of levels and paths with a name are all that was asked for.
    Raises UsageError for a name or place that the network does not have.
    """
    if not wanted:
        return None
    known = _known_levels(source.network)
    if any(place is None and name not in known for name, place in wanted.items()):
        known = named_outputs(source)
    paths = {path for path, _ in source.network.named_modules() if path}
    found = {}
    for name, place in wanted.items():
        if place is None:
            found[name] = known.get(name, name)
            if name not in known and name not in paths:
                raise _no_output(source, name, known, paths)
        else:
            found[name] = place
            path, _, part = place.partition(":")
            is_returned = path == "" and part not in _WHOLE  # by the network itself
            if not is_returned and path not in paths:
                raise _no_module(source, name, place, known, paths)
            if part not in _WHOLE:
                _check_part(source, name, path, part)
    return found


def named_outputs(source: Source) -> dict[str, str]:
    """Name -> place: what the network returns, the feature levels, and `features`.

    One tensor that is returned is called `logits`; of several, each by its own name. There are
    `features` if it is clear which they are.
    """
    calls = calls_of(source)
    returned = [*calls[-1].tensors]
    known = _known_levels(source.network)
    if "features" not in known:
        place = _last_linear(calls)
        known |= {} if place is None else {"features": place}
    own = {LOGITS: ""} if len(returned) <= 1 else {name: f":{name}" for name in returned}
    ordered = sorted(known.keys() - own.keys(), key=lambda name: (-len(name), name))
    return {**own, **{name: known[name] for name in ordered}}


def _known_levels(network: nn.Module) -> dict[str, str]:
    """Those that can be told without running the network."""
    known = levels(network)
    return _levels_of_timm(network) if known is None else dict(known)


def _levels_of_timm(network: nn.Module) -> dict[str, str]:
    """`c4` is the last place of those that timm says are 2^4 times smaller than the image."""
    found = {}
    paths = {module: path for path, module in network.named_modules()}
    for level in _rows_of_timm(network):
        exponent = level["reduction"].bit_length() - 1
        if level["reduction"] == 2**exponent > 1 and level["module"] in paths.values():
            given = str(level.get("hook_type") or "").startswith("forward_pre")
            found[f"c{exponent}"] = level["module"] + _INPUT * given
    ask = getattr(network, "get_classifier", None)
    classifier = ask() if callable(ask) else None
    path = paths.get(classifier) if classifier.__hash__ is not None else None  # or several heads
    if path:
        found["features"] = path + _INPUT
    return found


def _rows_of_timm(network: nn.Module) -> list[dict[str, Any]]:
    """timm's `feature_info`; empty for a network without one."""
    rows = getattr(network, "feature_info", None)
    if not isinstance(rows, list):
        return []
    return [
        row
        for row in rows
        if isinstance(row, dict)
        and isinstance(row.get("module"), str)
        and isinstance(row.get("reduction"), int)
    ]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One run of a module inside a network."""

    path: str
    """Of the module; "" for the network itself."""
    module: nn.Module
    given: tuple[int, ...] | None
    """Shape of one sample of its first input; None if that is not a tensor."""
    tensors: dict[str, tuple[int, ...]]
    """Name -> shape of one sample of each tensor that it returns; empty for anything else."""

    @property
    def returned(self) -> tuple[int, ...] | None:
        """Shape of one sample of what it returns; None if that is not one tensor."""
        return next(iter(self.tensors.values())) if len(self.tensors) == 1 else None


def calls_of(source: Source) -> list[Call]:
    """Run the network once on zeros and note every run of a module, in the order of their ends."""
    import torch

    from compile.errors import one_line

    calls: list[Call] = []

    def note(path: str) -> Any:
        def hook(module: nn.Module, given: Any, returned: Any) -> None:
            first = given[0] if given else None
            tensors = _shapes(returned)
            calls.append(Call(path=path, module=module, given=_shape(first), tensors=tensors))

        return hook

    hooks = [
        module.register_forward_hook(note(path)) for path, module in source.network.named_modules()
    ]
    try:
        with torch.no_grad(), one_line(f"{source.name} cannot be run"):
            source.network(torch.zeros(1, *source.shape))
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape[1:]) if hasattr(value, "shape") else None


def _shapes(returned: Any) -> dict[str, tuple[int, ...]]:
    """Of each tensor that a module returns."""
    from compile.errors import CheckFailed
    from compile.network.naming import tensors_in

    try:
        return {name: tuple(tensor.shape[1:]) for name, tensor in tensors_in(returned)}
    except CheckFailed:  # it holds something else than tensors
        return {}


def _last_linear(calls: list[Call]) -> str | None:
    """`fc:input` if the network ends with one linear layer, after which no weights follow."""
    from torch import nn

    *calls, whole = calls
    weighted = [each for each in calls if [*each.module.parameters(recurse=False)]]
    if not weighted:
        return None
    *others, last = weighted
    alone = not any(  # else it may be one of several heads
        each.module is last.module
        or (isinstance(each.module, nn.Linear) and each.returned == last.returned)
        for each in others
    )
    is_end = isinstance(last.module, nn.Linear) and last.returned == whole.returned
    return last.path + _INPUT if alone and is_end else None


def _check_part(source: Source, name: str, path: str, part: str) -> None:
    """UsageError if a module does not return a tensor of that name."""
    tensors = [call.tensors for call in calls_of(source) if call.path == path]
    if not tensors or part in tensors[-1]:  # a module that is not run is refused later
        return
    module = f"module '{path}' of {source.name}" if path else source.name
    several = f"it returns {', '.join(tensors[-1])}"
    one = f"write {name}={path}" if path else f"write {LOGITS}"
    raise UsageError(
        f"--output {name}={path}:{part}: {module} returns no tensor '{part}'; "
        f"{several if len(tensors[-1]) > 1 else one}"
    )


def _no_output(source: Source, what: str, known: dict[str, str], paths: set[str]) -> UsageError:
    """What there is instead, in one line."""
    if what == "features":
        return UsageError(
            f"it is not clear what the features of {source.name} are: it does not end with one "
            "linear layer; name it, such as features=fc:input; `--output list` shows all of them"
        )
    close = difflib.get_close_matches(what, [*known, *paths], n=3)
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else f"it has {', '.join(known)}, and each module by its path."
    )
    return UsageError(
        f"{source.name} has no output '{what}'; {hint} `--output {LIST}` shows all of them"
    )


def _no_module(
    source: Source, name: str, place: str, known: dict[str, str], paths: set[str]
) -> UsageError:
    """For `name=place`: what comes after the `=` is a path and no other name."""
    if known.get(place):
        return UsageError(
            f"--output {name}={place} wants a module's path, and '{place}' is a name; write "
            f"{place} alone, or {name}={known[place]}"
        )
    path = place.partition(":")[0]
    close = difflib.get_close_matches(path, paths, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(
        f"{source.name} has no module '{place.partition(':')[0]}'; {hint}`--output {LIST}` "
        "shows all of them"
    )
