"""The tensors that a module returns, and their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from compile.errors import CheckFailed

SCORES = "logits"
"""The name of a network's only output if it holds the scores of classes."""

OTHER = "output"
"""Its name if it holds anything else. Those of a tuple are numbered: output0, output1."""

MAX_OUTPUTS = 16

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")


def named_tensors(returned: Any) -> dict[str, torch.Tensor]:
    """The tensors of what a network returns, by name, in their order; None is left out.

    A dict's keys and a named tuple's fields are names, those inside others joined by a dot. Raises
    CheckFailed for anything else than tensors, and for names that cannot be used.
    """
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors_in(returned):
        if not NAME.fullmatch(name) or name in found:
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


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor of what a module returns, with its name, which may be one that cannot be used."""
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
        name_of = type(value).__name__
        article = "an" if name_of[0].lower() in "aeiou" else "a"
        kind = "nothing" if value is None else f"{article} {name_of}"
        raise CheckFailed(
            f"the module returns {kind}; it must return a tensor, or a tuple or dict of tensors"
        )
    for key, inner in items:
        yield from tensors_in(inner, f"{name}.{key}" if name else str(key))
