"""The golden samples: the inputs on which an artifact proves itself, and what is right for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from compile.artifact.manifest import GOLDEN, Manifest
from compile.artifact.outputs import Layout, Output
from compile.artifact.reading import Artifact
from compile.artifact.tensors import read_tensors, write_tensors
from compile.errors import CheckFailed
from compile.network.oracle import MODULE, Oracle
from compile.spec import ROWS


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The samples on which an artifact proves itself."""

    input: torch.Tensor
    """(N, C, H, W) float32, or (N, H, W, C) uint8: what programs are given."""
    pixels: torch.Tensor
    """(N, C, H, W) float64: what the module sees; `input` itself unless that is bytes."""
    oracle: torch.Tensor
    """(N, width) float64: the network in float64, its outputs in rows."""
    layout: Layout
    """What stands where in a row."""
    kinds: tuple[str, ...]
    """`real`, `synthetic` or `normal` for the first 16 rows; then names of hostile.py."""
    way: str = MODULE
    """How the oracle was computed: a kind of compile.network.oracle."""
    left_out: tuple[dict[str, str], ...] = ()
    """`kind` and `reason` of hostile samples that have no row."""

    def rows(self, count: int) -> torch.Tensor:
        """Indices of `count` ordinary rows, from the start again where 16 are not enough."""
        return torch.arange(count) % min(ROWS, len(self.input))

    def what(self, row: int, output: int) -> str:
        """The kind of a sample, and where there are several outputs the name of one, in words."""
        names = self.layout.names
        return f"{self.kinds[row]}, {names[output]}" if len(names) > 1 else self.kinds[row]

    @property
    def ordinary(self) -> Golden:
        """Without the hostile rows."""
        return self.take(torch.arange(len(self.input)) < ROWS)

    def take(self, kept: torch.Tensor) -> Golden:
        """The rows that a mask (N,) of booleans keeps."""
        kinds = (kind for kind, keep in zip(self.kinds, kept.tolist(), strict=True) if keep)
        return replace(
            self,
            input=self.input[kept],
            pixels=self.pixels[kept],
            oracle=self.oracle[kept],
            kinds=tuple(kinds),
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
    """(N, pieces) root mean square error of eager PyTorch at the precision."""
    floor: torch.Tensor
    """(N, pieces) half a rounding step of a typical value of the output."""

    @property
    def bound(self) -> torch.Tensor:
        """(N, pieces) largest root mean square error that passes."""
        return self.k * self.e_eager + self.floor

    def take(self, kept: torch.Tensor) -> Bounds:
        """The rows that a mask (N,) of booleans keeps."""
        return Bounds(k=self.k, e_eager=self.e_eager[kept], floor=self.floor[kept])


def choose_samples(
    shape: tuple[int, int, int], real: torch.Tensor | None, seed: int = 0
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return 16 samples (16, C, H, W) float32 and their kinds.

    Half are taken from `real` (N >= 8, C, H, W), or are smooth noise where there is nothing real.
    Every other one of those is an image of 0 to 1: what is done to negative pixels alone, or to
    positive ones alone, is tried too.
    """
    generator = torch.Generator().manual_seed(seed)
    half = ROWS // 2
    if real is None:
        coarse = torch.randn((half, shape[0], 4, 4), generator=generator)
        first = interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=False)
        first[::2] = _stretched(first[::2])
    else:
        first = real[torch.linspace(0, len(real) - 1, half).long()]
    normal = torch.randn((half, *shape), generator=generator)
    x = torch.cat([first.float(), normal]).contiguous()
    return x, ("synthetic" if real is None else "real",) * half + ("normal",) * half


def _stretched(x: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W) whose smallest pixel is 0 and whose largest is 1."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low).clamp_min(1e-6)


def answered(
    oracle: Oracle,
    layout: Layout,
    x: torch.Tensor,
    pixels: torch.Tensor,
    kinds: tuple[str, ...],
) -> Golden:
    """The samples with their oracle; hostile ones for which the module itself has none left out.

    Raises CheckFailed if it breaks on an ordinary sample.
    """
    outputs: list[torch.Tensor] = []
    for answer, kind in zip(oracle.answers(pixels), kinds, strict=True):
        if isinstance(answer, torch.Tensor):
            outputs.append(answer)
        elif len(outputs) < ROWS:
            raise CheckFailed(f"the oracle: on a {kind} sample, {answer}")
        else:
            outputs.append(torch.full_like(outputs[0], torch.nan))
    golden = Golden(
        input=x,
        pixels=pixels,
        oracle=torch.cat(outputs),
        layout=layout,
        kinds=kinds,
        way=oracle.kind,
    )
    finite = torch.isfinite(golden.oracle).all(dim=1)
    finite[:ROWS] = True  # a module that overflows on these is refused later
    return golden.without(finite, "the module itself gives no finite output for it")


def write_golden(folder: Path, golden: Golden, bounds: Bounds, *, given: str) -> None:
    """Write golden.safetensors, as docs/artifact.md has it; `given` names the program's input."""
    tensors = {f"inputs/{given}": golden.input.contiguous()}
    layout, rows = golden.layout, len(golden.input)
    for output, columns, pieces in zip(layout.outputs, layout.columns, layout.pieces, strict=True):
        oracle = golden.oracle[:, columns].contiguous()
        if output.positions is None:
            oracle = oracle.reshape(rows, *output.shape)
        else:
            tensors[f"positions/{output.name}"] = output.positions
        tensors[f"oracle/{output.name}"] = oracle
        if output.groups:
            parts = bounds.e_eager[:, pieces][:, 1:]
            tensors[f"e_eager/{output.name}"] = parts.reshape(rows, output.groups, 2).contiguous()
    write_tensors(folder / GOLDEN, tensors)


def proof_of(artifact: Artifact) -> tuple[Golden, Bounds]:
    """The samples and bounds that the artifact carries.

    Raises BadArtifact if a value is not finite.
    """
    manifest = artifact.manifest
    tensors = read_tensors(artifact.files[GOLDEN].path, str(artifact.path / GOLDEN))
    inputs = tensors[f"inputs/{manifest['inputs'][0]['name']}"]
    layout = layout_of(manifest, tensors)
    golden = Golden(
        input=inputs,
        pixels=inputs,
        oracle=torch.cat([tensors[f"oracle/{name}"].flatten(1) for name in layout.names], dim=1),
        layout=layout,
        kinds=tuple(sample["kind"] for sample in manifest["parity"]["samples"]),
    )
    return golden, _bounds(manifest, layout, tensors)


def layout_of(manifest: Manifest, tensors: Mapping[str, torch.Tensor]) -> Layout:
    """The outputs of an artifact; `tensors` are those of its golden.safetensors."""
    pairs = zip(manifest["outputs"], manifest["parity"]["outputs"], strict=True)
    return Layout(
        [
            Output(
                name=output["name"],
                shape=tuple(output["shape"]),
                scores=proof["top1"] is not None,
                positions=tensors.get(f"positions/{output['name']}"),
            )
            for output, proof in pairs
        ]
    )


def _bounds(manifest: Manifest, layout: Layout, tensors: Mapping[str, torch.Tensor]) -> Bounds:
    eager, floor = [], []
    for output, proof in zip(layout.outputs, manifest["parity"]["outputs"], strict=True):
        rows = proof["bounds"]
        whole, least = (
            torch.tensor([[row[key]] for row in rows], dtype=torch.float64)
            for key in ("e_eager", "floor")
        )
        eager.append(whole)
        floor.append(least.expand(-1, 1 + 2 * output.groups))
        if output.groups:
            eager.append(tensors[f"e_eager/{output.name}"].flatten(1))
    return Bounds(
        k=manifest["parity"]["k"], e_eager=torch.cat(eager, dim=1), floor=torch.cat(floor, dim=1)
    )
