"""The golden samples: the inputs on which an artifact proves itself, and what is right for them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from compile.artifact.manifest import GOLDEN
from compile.artifact.reading import Artifact
from compile.errors import BadArtifact, CheckFailed, first_line
from compile.spec import ROWS


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The samples on which an artifact proves itself."""

    input: torch.Tensor
    """(N, C, H, W) float32, or (N, H, W, C) uint8: what programs are given."""
    pixels: torch.Tensor
    """(N, C, H, W) float64: what the module sees; `input` itself unless that is bytes."""
    oracle: torch.Tensor
    """(N, classes) float64: the module in float64."""
    kinds: tuple[str, ...]
    """`real`, `synthetic` or `normal` for the first 16 rows; then names of hostile.py."""
    left_out: tuple[dict[str, str], ...] = ()
    """`kind` and `reason` of hostile samples that have no row."""

    def rows(self, count: int) -> torch.Tensor:
        """Indices of `count` ordinary rows, from the start again where 16 are not enough."""
        return torch.arange(count) % min(ROWS, len(self.input))

    @property
    def ordinary(self) -> Golden:
        """Without the hostile rows."""
        return self.take(torch.arange(len(self.input)) < ROWS)

    def take(self, kept: torch.Tensor) -> Golden:
        """The rows that a mask (N,) of booleans keeps."""
        kinds = (kind for kind, keep in zip(self.kinds, kept.tolist(), strict=True) if keep)
        return Golden(
            input=self.input[kept],
            pixels=self.pixels[kept],
            oracle=self.oracle[kept],
            kinds=tuple(kinds),
            left_out=self.left_out,
        )

    def without(self, kept: torch.Tensor, reason: str) -> Golden:
        """The rows that a mask (N,) keeps; the others are left out for this reason."""
        rows = zip(self.kinds, kept.tolist(), strict=True)
        more = tuple({"kind": kind, "reason": reason} for kind, keep in rows if not keep)
        return replace(self.take(kept), left_out=(*self.left_out, *more))


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How wrong a program may be, per golden sample."""

    k: float
    e_eager: torch.Tensor
    """(N,) root mean square error of eager PyTorch at the precision."""
    floor: torch.Tensor
    """(N,) half a rounding step of a typical output."""

    @property
    def bound(self) -> torch.Tensor:
        """(N,) largest root mean square error that passes."""
        return self.k * self.e_eager + self.floor

    def take(self, kept: torch.Tensor) -> Bounds:
        """The rows that a mask (N,) of booleans keeps."""
        return Bounds(k=self.k, e_eager=self.e_eager[kept], floor=self.floor[kept])


def choose_samples(
    shape: tuple[int, int, int], real: torch.Tensor | None, seed: int = 0
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return 16 samples (16, C, H, W) float32 and their kinds.

    Half are taken from `real` (N >= 8, C, H, W), or are smooth noise where there is nothing real.
    """
    generator = torch.Generator().manual_seed(seed)
    half = ROWS // 2
    if real is None:
        coarse = torch.randn((half, shape[0], 4, 4), generator=generator)
        first = interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=False)
    else:
        first = real[torch.linspace(0, len(real) - 1, half).long()]
    normal = torch.randn((half, *shape), generator=generator)
    x = torch.cat([first.float(), normal]).contiguous()
    return x, ("synthetic" if real is None else "real",) * half + ("normal",) * half


def answered(
    module: nn.Module, x: torch.Tensor, pixels: torch.Tensor, kinds: tuple[str, ...]
) -> Golden:
    """The samples with their oracle; hostile ones for which the module itself has none left out.

    Raises CheckFailed where it breaks on an ordinary sample.
    """
    double = _in_float64(module)
    found: list[torch.Tensor] = []
    for sample, kind in zip(torch.split(pixels, 1), kinds, strict=True):
        try:
            found.append(_answer(double, sample))
        except RuntimeError as error:  # an eigenvalue of nothing, say
            if len(found) < ROWS:
                reason = first_line(error)
                raise CheckFailed(f"the module breaks on a {kind} sample: {reason}") from error
            found.append(torch.full_like(found[0], torch.nan))
    golden = Golden(input=x, pixels=pixels, oracle=torch.cat(found), kinds=kinds)
    finite = torch.isfinite(golden.oracle).all(dim=1)
    finite[:ROWS] = True  # a module that overflows on these is refused later
    return golden.without(finite, "the module itself gives no finite output for it")


def oracle(module: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return the module's outputs in float64: (N, C, H, W) -> (N, classes)."""
    double = _in_float64(module)
    return torch.cat([_answer(double, sample) for sample in torch.split(pixels.double(), 1)])


def _in_float64(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).cpu().double().eval()


@torch.no_grad()
def _answer(double: nn.Module, sample: torch.Tensor) -> torch.Tensor:
    """One sample alone: a program for batch 1 may come from a module that takes no other."""
    out: torch.Tensor = double(sample.clone())
    return out


def proof_of(artifact: Artifact) -> tuple[Golden, Bounds]:
    """The samples and bounds that the artifact carries; BadArtifact by the rules of zoo-run."""
    where = artifact.path / GOLDEN
    tensors = torch.load(artifact.files[GOLDEN].path, weights_only=True)
    entry = artifact.manifest["parity"]
    samples = entry["samples"]
    if not isinstance(tensors, dict):
        raise BadArtifact(f"{where} holds no dict of tensors")
    classes = artifact.manifest["outputs"][0]["shape"][0]
    inputs = _require(tensors, "input", artifact.input.dtype, (len(samples), *artifact.input.shape))
    oracle = _require(tensors, "oracle", "float64", (len(samples), classes))
    golden = Golden(
        input=inputs,
        pixels=inputs,
        oracle=oracle,
        kinds=tuple(sample["kind"] for sample in samples),
    )
    limit = Bounds(
        k=entry["k"],
        e_eager=torch.tensor([s["e_eager"] for s in samples], dtype=torch.float64),
        floor=torch.tensor([s["floor"] for s in samples], dtype=torch.float64),
    )
    return golden, limit


def _require(
    tensors: dict[str, Any], name: str, dtype: str, shape: tuple[int, ...]
) -> torch.Tensor:
    found = tensors.get(name)
    if not isinstance(found, torch.Tensor):
        raise BadArtifact(f"{GOLDEN} holds no tensor '{name}'")
    fits = found.dtype == getattr(torch, dtype) and tuple(found.shape) == shape
    if not fits or not found.is_contiguous() or not bool(torch.isfinite(found).all()):
        raise BadArtifact(
            f"{GOLDEN}: '{name}' is {str(found.dtype).removeprefix('torch.')} "
            f"{tuple(found.shape)}; the manifest wants {dtype} {shape}, contiguous and finite"
        )
    return found
