"""Reads a file of weights that somebody else wrote as named tensors, and runs nothing in it.

The file is read once into this process's memory. The same copy is hashed, scanned and parsed,
whatever happens to the file meanwhile. The hash that its name promises is compared before a byte
is parsed. A zip archive is scanned before torch reads it. torch unpickles it with
`weights_only=True`, which builds only tensors and plain containers. There is no second attempt.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from compile.artifact.archive import check_archive
from compile.files import is_of_the_machine
from zoo.errors import BadArtifact, Unavailable, UsageError

MAX_BYTES = 8 * 2**30
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_ema", "state_dict_ema", "ema")
"""Keys under which training scripts put the weights."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
_NAMED_HASH = re.compile(r"-([0-9a-f]{8,64})\.[A-Za-z]+$")
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"


@dataclass(kw_only=True)
class WeightFile:
    """A file that was read and verified."""

    name: str
    """The file's name, without its folder."""
    sha256: str
    """Of the whole file, 64 hexadecimal digits."""
    named_hash: str | None
    """The first digits of the hash, as the file's name gives them. None if it gives none."""
    tensors: dict[str, Tensor]
    """The tensors of the file, of any dtype and shape, on the CPU."""
    notes: list[str] = field(default_factory=list)
    """What a user should know about how the file was read."""


def read_weights(path: str | Path, key: str | None = None) -> WeightFile:
    """Read a .safetensors file, or a .pth file: a zip archive, or a pickle from before torch 1.6.

    `key` names the entry to take if a checkpoint holds several sets of weights. Raises UsageError
    if there is no such file, and Unavailable if it may not be read. Raises BadArtifact if it is
    damaged, is not what its name promises, or is in a form that is not safe to read.
    """
    path = Path(path)
    content = _read(path)
    sha256 = hashlib.sha256(content).hexdigest()
    match = _NAMED_HASH.search(path.name)
    named_hash = match[1] if match else None
    if named_hash is not None and not sha256.startswith(named_hash):
        raise BadArtifact(
            f"{path}: its name promises the sha256 {named_hash}..., the file has "
            f"{sha256[: len(named_hash)]}...; it is damaged or another file: download it again"
        )
    weights = WeightFile(name=path.name, sha256=sha256, named_hash=named_hash, tensors={})
    if named_hash is None:
        weights.notes.append(f"its name holds no hash to compare; its sha256 is {sha256}")
    if content[:4] == _ZIP:
        loaded = _load_zip(content, path, crc=named_hash is None)
        weights.tensors = _unwrap(loaded, key, path, weights.notes)
    elif content[:1] == _PICKLE:
        weights.notes.append("it is in the form of torch before 1.6")
        weights.tensors = _unwrap(_unpickle(io.BytesIO(content), path), key, path, weights.notes)
    elif content[8:9] == b"{":  # 8 bytes of length, then JSON
        weights.tensors = _load_safetensors(content, path)
        if key is not None:
            raise UsageError(f"--key {key}: {path} is a .safetensors file, which has no such keys")
    else:
        raise BadArtifact(_refusal(content, path))
    weights.tensors = _strip_prefixes(weights.tensors, weights.notes)
    return weights


def _read(path: Path) -> bytes:
    """The content of a regular file, read through one descriptor."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadArtifact(
                    f"--weights {path} is not a file; give one that ends in {', '.join(SUFFIXES)}"
                )
            if status.st_size > MAX_BYTES:
                raise BadArtifact(
                    f"{path} is larger than {MAX_BYTES >> 30} GiB: no network here is"
                )
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"--weights {path}: no such file; download it first") from None
    except IsADirectoryError:
        raise UsageError(f"--weights {path} is a folder; give the file in it") from None
    except PermissionError:
        raise Unavailable(f"--weights {path} may not be read: check its permissions") from None
    except OSError as error:
        kind = Unavailable if is_of_the_machine(error) else BadArtifact
        raise kind(f"--weights {path} cannot be read: {error.strerror}") from None


def _load_zip(content: bytes, path: Path, *, crc: bool) -> object:
    """What torch saved in a zip archive. `crc` checks its sums, for files without a known hash."""
    stream = io.BytesIO(content)
    check_archive(stream, str(path))
    with zipfile.ZipFile(stream) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise BadArtifact(f"{path} is a TorchScript program; give a file of weights alone")
        damaged = archive.testzip() if crc else None
    if damaged is not None:
        raise BadArtifact(f"{path} is damaged: the sum of '{damaged}' differs; fetch it again")
    stream.seek(0)
    return _unpickle(stream, path)


def _unpickle(stream: io.BytesIO, path: Path) -> object:
    """Tensors and plain containers only, whatever the pickle asks for; with or without a zip."""
    try:
        # Checkpoints often hold their script's options: plain attributes, which run nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(stream, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a hostile or damaged pickle can raise any of them
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = next((line for line in lines if "GLOBAL" in line or "class" in line), lines[0])
        raise BadArtifact(
            f"{path} does not load as weights alone ({reason.strip()[:200]}); ask its author for a "
            "plain state dict or a .safetensors file"
        ) from None


def _load_safetensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        loaded: dict[str, Tensor] = safetensors.torch.load(content)
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise BadArtifact(
            f"{path} is not a sound .safetensors file: {error}; fetch it again"
        ) from None
    return loaded


def _refusal(content: bytes, path: Path) -> str:
    """Why a file is not read that is neither a zip archive nor .safetensors."""
    if content[257:262] == b"ustar":
        return (
            f"{path} is in torch's oldest form, a .tar archive, which cannot be read without "
            "running what is in it; take a newer file of the same weights, or load it with an old "
            "torch on a machine that you can afford to lose, and torch.save() its state dict again"
        )
    if not content:
        return f"{path} is empty; fetch it again"
    return f"{path} is neither a zip archive of torch nor a .safetensors file; fetch it again"


def _unwrap(loaded: object, key: str | None, path: Path, notes: list[str]) -> dict[str, Tensor]:
    """The state dict in the content of a .pth file."""
    if key is None and _is_state_dict(loaded):
        return dict(loaded)  # type: ignore[call-overload]
    if not isinstance(loaded, Mapping):
        raise BadArtifact(f"{path} holds a {type(loaded).__name__}, not a state dict")
    entries = [str(name) for name, value in loaded.items() if _is_state_dict(value)]
    if key is None:
        known = [name for name in entries if name in WRAPPERS]
        if len(known) != 1:
            what = f"has weights under {', '.join(known)}" if known else "is not a state dict"
            choice = ", ".join(entries) or "none of its entries is one"
            raise BadArtifact(f"{path} {what}; choose an entry with --key: {choice}"[:500])
        key = known[0]
    elif key not in entries:
        raise UsageError(
            f"--key {key}: {path} has no weights there; it has: {', '.join(entries) or 'none'}"[
                :500
            ]
        )
    notes.append(f"the weights are those under '{key}'")
    return dict(loaded[key])


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) for name in value)
        and all(isinstance(each, Tensor) for each in value.values())
    )


def _strip_prefixes(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Remove a wrapper's prefix from the names, if every name begins with it."""
    # torch's AveragedModel adds a counter of its updates, which has no prefix.
    rest = {name: each for name, each in tensors.items() if name != "n_averaged"}
    for prefix in _PREFIXES:
        if rest and all(name.startswith(prefix) for name in rest):
            notes.append(f"'{prefix}' was removed from every name")
            return _strip_prefixes(
                {name.removeprefix(prefix): each for name, each in rest.items()}, notes
            )
    return tensors
