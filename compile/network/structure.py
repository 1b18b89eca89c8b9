"""What a network is besides its weights: a hash tells networks apart that hold the same ones."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from compile.network.weights import weights_sha256

_OWN = frozenset(vars(nn.Module()))
"""What PyTorch itself keeps in a layer."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")

_PLAIN = bool | int | float | complex | str | bytes | torch.dtype | torch.device | None
_DEEPEST = 40
_ADDRESS = re.compile(r"0x[0-9a-f]+")


def structure_sha256(module: nn.Module) -> str:
    """A hash of a module's layers, their settings and their code.

    Settings are plain attributes, buffers that no state dict holds, and hooks. The code is that of
    the functions among them, and the files in which they and the layers' classes are written,
    torch's own left out.
    """
    written = _Written()
    written.add(repr(module))
    for path, layer in module.named_modules():
        written.add(path)
        written.layer(layer)
    written.sources()
    return written.digest.hexdigest()


class _Written:
    """Writes values into a hash, such that equal ones give the same."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.modules: set[str] = set()
        """Names of the modules of Python whose code the values run."""
        self.seen: dict[int, Any] = {}
        """What was written, by its id; kept, so that no other value gets the same id."""

    def add(self, text: str) -> None:
        self.digest.update(f"{len(text)}\0{text}\0".encode(errors="surrogateescape"))

    def layer(self, layer: nn.Module) -> None:
        """The settings of one layer; the layers inside it are left out."""
        self.kind(type(layer))
        settings = {key: value for key, value in vars(layer).items() if key not in _OWN}
        settings |= {key: layer._buffers[key] for key in layer._non_persistent_buffers_set}
        settings |= {key: list(vars(layer)[key].values()) for key in _HOOKS}
        for key in sorted(settings):
            self.add(key)
            self.value(settings[key])

    def kind(self, kind: Any) -> None:
        """A class or a function by its name; its file is read later."""
        name = str(getattr(kind, "__module__", ""))
        self.add(f"{name}.{getattr(kind, '__qualname__', type(kind).__qualname__)}")
        self.modules.add(name)

    def value(self, value: Any, depth: int = 0) -> None:
        """Anything that may lie in an attribute."""
        if isinstance(value, _PLAIN):
            return self.add(repr(value))
        if id(value) in self.seen or depth > _DEEPEST:
            return self.add("again")
        self.seen[id(value)] = value
        for part in self.parts(value):
            self.value(part, depth + 1)

    def parts(self, value: Any) -> list[Any]:
        """What else must be written of a value, whose kind is written here."""
        named = isinstance(value, type | FunctionType | BuiltinFunctionType)
        self.kind(value if named else type(value))
        if isinstance(value, torch.Tensor):
            with suppress(Exception):  # a sparse one, say
                self.add(weights_sha256({"": value}))
        elif isinstance(value, np.ndarray):
            self.add(f"{value.dtype} {value.shape} {value.tolist()}")
        elif isinstance(value, Mapping):
            return [part for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple):
            return list(value)
        elif isinstance(value, set | frozenset):
            self.add(str(sorted(map(repr, value))))
        elif isinstance(value, CodeType):
            return [value.co_code, value.co_names, value.co_consts]
        elif isinstance(value, FunctionType):
            cells = [each.cell_contents for each in value.__closure__ or () if _is_full(each)]
            return [value.__code__, value.__defaults__, value.__kwdefaults__, cells]
        elif isinstance(value, MethodType):
            return [value.__func__, value.__self__]
        elif isinstance(value, partial):
            return [value.func, value.args, value.keywords]
        elif isinstance(value, nn.Module):
            self.layer(value)
            return [*value._parameters.items(), *value._modules.items()]
        elif type(value).__module__.partition(".")[0] == "torch":  # an operator, say
            self.add(_ADDRESS.sub("", repr(value)))
        elif not named:
            return sorted(getattr(value, "__dict__", {}).items())
        return []

    def sources(self) -> None:
        """The files of the modules of Python that were met."""
        for name in sorted(self.modules):
            if name.partition(".")[0] not in ("torch", "builtins"):
                with suppress(OSError, TypeError):  # typed into a prompt, or written in C
                    path = inspect.getsourcefile(sys.modules[name]) if name in sys.modules else None
                    self.digest.update(Path(path).read_bytes() if path else b"")


def _is_full(cell: Any) -> bool:
    with suppress(ValueError):
        return cell.cell_contents is not None
    return False
