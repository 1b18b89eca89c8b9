"""A module made ready once for every artifact that is compiled from it.

Folding, the oracle, PyTorch's own errors and calibration cost more than many a build. They are
computed when they are first asked for, and kept: twenty artifacts of a network pay for them once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from compile.backends.base import Backend
from compile.errors import BadArtifact, CheckFailed, NotBuildable, first_line
from compile.graphs.names import exported
from compile.machine import package_version
from compile.network.prepare import FromBytes, cast, check_module, fold_batch_norms
from compile.network.quantize import FakeQuantised, quantize, scheme_here, simulated
from compile.network.weights import structure_sha256, weights_sha256
from compile.precision import REFERENCE, precision
from compile.proof import gates, parity
from compile.proof.accuracy import paired, percent
from compile.proof.gates import Gate
from compile.proof.golden import Bounds, Golden, answered, choose_samples, oracle
from compile.proof.hostile import hostile_bytes, hostile_samples
from compile.spec import ROWS, CompileSpec

ACCURACY_BUDGET = 0.5
"""Percentage points of test accuracy that quantisation may cost."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Samples with known classes."""

    images: torch.Tensor
    """(N, C, H, W) float32, preprocessed."""
    labels: torch.Tensor
    """(N,) class indices."""
    reference: torch.Tensor | None = None
    """(N,) the classes that the float64 model gives, where they were asked for."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Images that decide the ranges of a quantised network's activations."""

    images: torch.Tensor
    """(N, C, H, W) float32, preprocessed."""
    source: str
    """Where they came from, for the manifest."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one build is given, and what its result is held to."""

    module: nn.Module
    """What the backend compiles."""
    golden: Golden
    limit: Bounds
    weights: Iterable[tuple[str, torch.Tensor]]
    """What the file must hold, before it is rounded to the precision."""
    gates: list[Gate]
    """Those that need no file, judged already."""
    skipped: list[dict[str, str]]
    left_out: list[dict[str, str]]
    """Hostile samples that golden does not hold, `kind` and `reason` of each."""
    quantization: dict[str, Any] | None
    """The manifest's entry, for quantised precisions."""


class Subject:
    """A module and everything that was computed of it.

    Args:
        module: maps float32 (N, C, H, W) to (N, classes); copied, and put into evaluation mode.
        shape: (C, H, W) of one sample.
        samples: real inputs (N >= 8, C, H, W) float32 to prove with, or None.
        calibration: images for the quantised precisions, or None.
        labelled: samples that measure what quantisation costs, or None.
        mean, std: per channel, of pixels scaled to 0..1: what a byte input is normalised with.

    Raises BadArtifact for non-finite weights or a shape that the module refuses, CheckFailed for
    a module that does not map one tensor to one (batch, classes) tensor.
    """

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, int, int],
        *,
        samples: torch.Tensor | None = None,
        calibration: Calibration | None = None,
        labelled: Labelled | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        for what, images, least in (
            ("samples", samples, ROWS // 2),
            ("calibration images", calibration.images if calibration else None, 1),
        ):
            if images is not None:
                _check_images(what, images, shape, least)
        self.module = copy.deepcopy(module).eval()  # the caller's stays in the mode it is in
        self.shape = shape
        self.sha256 = weights_sha256(self.module.state_dict())
        self.num_parameters = sum(p.numel() for p in self.module.parameters())
        self._samples = samples
        self._calibration = calibration
        self._labelled = labelled
        self.mean = list(mean) if mean is not None else [0.0] * shape[0]
        self.std = list(std) if std is not None else [1.0] * shape[0]
        self._kept: dict[tuple[object, ...], Any] = {}

    @property
    def structure_sha256(self) -> str:
        """A hash of the layers and of the code that calls them: weights alone name no network."""
        return self._once(("structure",), lambda: structure_sha256(self.module))

    @property
    def calibration_sha256(self) -> str | None:
        """A hash of the calibration images."""
        return self._hash("calibration", self._calibration.images if self._calibration else None)

    @property
    def samples_sha256(self) -> str | None:
        """A hash of the real inputs."""
        return self._hash("samples", self._samples)

    def _hash(self, what: str, images: torch.Tensor | None) -> str | None:
        if images is None:
            return None
        return self._once((what,), lambda: weights_sha256({what: images}))

    def _once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    @property
    def num_classes(self) -> int:
        """Width of the output."""
        return self._check_module()

    def _check_module(self) -> int:
        """The width of the output of a module that can be compiled; CheckFailed for others."""
        example = CompileSpec(shape=self.shape).example()
        return self._once(("output",), lambda: check_module(self.module, example).shape[1])

    @property
    def folded(self) -> nn.Module:
        """The module with its batch norms folded into its convolutions."""
        example = CompileSpec(shape=self.shape).example()
        return self._once(("folded",), lambda: fold_batch_norms(self.module, example))

    def graph(self, name: str, batch: int = 1, *, exact: bool = False) -> nn.Module:
        """The folded module's exported graph at precision `name` for one batch; not to be changed.

        With `exact` it computes in float64. Raises CheckFailed where the module cannot be exported
        for this batch.
        """
        spec = CompileSpec(shape=self.shape, batch=(batch, batch))

        def export() -> nn.Module:
            try:
                found = exported(cast(self.folded, name), spec).module()
            except Exception as error:
                raise CheckFailed(
                    f"the module cannot be exported for batch {batch}: {first_line(error)}"
                ) from error
            return found.double() if exact else found

        return self._once(("graph", name, batch, exact), export)

    def grid(self, scheme: str, *, exact: bool = False, jitter: float = 0.0) -> nn.Module:
        """The fake-quantised graph, for any batch, in float32 or `exact`ly in float64; not to be
        changed. For `jitter` see compile.network.quantize.simulated.
        """
        dtype = torch.float64 if exact else torch.float32
        return self._once(
            ("grid", scheme, dtype, jitter),
            lambda: simulated(self._quantised(scheme), dtype, jitter=jitter).network,
        )

    def weights(self, name: str, scheme: str = "") -> Iterator[tuple[str, torch.Tensor]]:
        """What a file at precision `name` must hold, before it is rounded to it."""
        if precision(name).quantised:
            return self._quantised(scheme).weights()
        return gates.weights_of(self.folded)

    def golden(self, input_type: str) -> Golden:
        """The samples that every artifact of this input type proves itself on."""
        return self._once(("golden", input_type), lambda: self._golden(input_type))

    def _golden(self, input_type: str) -> Golden:
        x, kinds = choose_samples(self.shape, self._samples)
        as_bytes = input_type == "uint8"
        more, names = hostile_bytes(self.shape) if as_bytes else hostile_samples(self.shape)
        x = torch.cat([self._as_bytes(x, kinds) if as_bytes else x, more])
        pixels = self._seen(x) if as_bytes else x.double()
        return answered(self.module, x, pixels, (*kinds, *names))

    def _as_bytes(self, x: torch.Tensor, kinds: Sequence[str]) -> torch.Tensor:
        """Bytes (N, H, W, C) of samples (N, C, H, W); no images spread over a byte's range."""
        mean, std = self._normalisation()
        pixels = x.double()
        real = torch.tensor([kind == "real" for kind in kinds])[:, None, None, None]
        scaled = torch.where(real, pixels * std + mean, pixels / 6 + 0.5)
        byte = (scaled * 255).round().clamp(0, 255)
        return byte.to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _seen(self, x: torch.Tensor) -> torch.Tensor:
        """What bytes (N, H, W, C) are once normalised: (N, C, H, W) float64."""
        mean, std = self._normalisation()
        return (x.permute(0, 3, 1, 2).double() / 255 - mean) / std

    def _normalisation(self) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.std))
        return mean[:, None, None], std[:, None, None]

    def task(self, spec: CompileSpec, maker: Backend) -> Task:
        """What `maker` is to build for `spec`, and what its result is held to."""
        self._check_module()
        golden = self.golden(spec.input_type)
        name, row = spec.precision, precision(spec.precision)
        if row.quantised:
            scheme = scheme_here(maker.QUANTIZER)
            module: nn.Module = self._quantised(scheme)
            fp8 = row.float_grid
            if row.on_own_grid:
                golden = self._once(
                    ("golden", spec.input_type, scheme), lambda: self._on_grid(golden, scheme)
                )
            found, skipped, entry = self._price(scheme, fp8)
            computes: nn.Module = simulated(self._quantised(scheme), torch.float32, fp8=fp8)
        else:
            scheme, entry, skipped = "", None, gates.not_compared(self.folded)
            module = cast(self.folded, name)
            found = [self._before_cast(spec.input_type)] if row.lowered else []
            computes = self.module
        limit = self._once(
            ("bounds", name, spec.input_type, scheme),
            lambda: parity.bounds(computes, name, self._in_float32(golden)),
        )
        kept, limit = parity.finite_rows(golden, limit, name)
        if spec.input_type == "uint8":
            module = FromBytes(module, self.mean, self.std)
        return Task(
            module=copy.deepcopy(module),
            golden=kept,
            limit=limit,
            weights=list(self.weights(name, scheme)),
            gates=list(found),
            skipped=list(skipped),
            left_out=list(kept.left_out),
            quantization=entry,
        )

    def _in_float32(self, golden: Golden) -> Golden:
        """The samples as PyTorch has them, whose error begins where it normalises bytes."""
        if golden.input.dtype != torch.uint8:
            return golden
        return replace(golden, pixels=FromBytes(nn.Identity(), self.mean, self.std)(golden.input))

    def _before_cast(self, input_type: str) -> Gate:
        golden = self._in_float32(self.golden(input_type))
        limit = self._once(
            ("bounds", REFERENCE, input_type, ""),
            lambda: parity.bounds(self.module, REFERENCE, golden),
        )
        kept, limit = parity.finite_rows(golden, limit, REFERENCE)
        return self._once(
            ("before cast", input_type), lambda: gates.before_cast(self.folded, kept, limit)
        )

    def _quantised(self, scheme: str) -> FakeQuantised:
        if self._calibration is None:
            raise NotBuildable(
                "int8 needs images to calibrate with: give --calibrate a folder of them"
            )
        images = self._calibration.images
        return self._once(("quantised", scheme), lambda: quantize(self.folded, images, scheme))

    def _on_grid(self, golden: Golden, scheme: str) -> Golden:
        """The same samples with the fake-quantised graph as their oracle."""
        exact = simulated(self._quantised(scheme), torch.float64)
        return replace(golden, oracle=oracle(exact, golden.pixels))

    def _price(
        self, scheme: str, fp8: bool
    ) -> tuple[list[Gate], list[dict[str, str]], dict[str, Any]]:
        """What quantisation costs: the gate of the accuracy budget, and the manifest's entry."""
        return self._once(("price", scheme, fp8), lambda: self._measure_price(scheme, fp8))

    def _measure_price(
        self, scheme: str, fp8: bool
    ) -> tuple[list[Gate], list[dict[str, str]], dict[str, Any]]:
        assert self._calibration is not None
        graph = simulated(self._quantised(scheme), torch.float32, fp8=fp8)
        golden = self.golden("float32").ordinary
        found = [gates.quantisation_noise(graph, golden)]
        entry: dict[str, Any] = {
            "scheme": scheme,
            "calibration": self._calibration.source,
            "samples": len(self._calibration.images),
            "torchao": package_version("torchao"),
            "accuracy": None,
        }
        if self._labelled is None:
            reason = "no labelled images: what quantisation costs in accuracy is not known"
            return found, [{"name": "accuracy budget", "reason": reason}], entry
        before, after = (self._right(module) for module in (self.folded, graph))
        entry["accuracy"] = {
            "before": percent(before),
            "after": percent(after),
            "images": len(before),
            **paired(before, after),
        }
        lost = percent(before) - percent(after)
        gate = {
            "name": "accuracy budget",
            "value": lost,
            "bound": ACCURACY_BUDGET,
            "passed": lost <= ACCURACY_BUDGET,
        }
        return [*found, gate], [], entry

    def _right(self, module: nn.Module) -> torch.Tensor:
        """Which of the labelled samples `module` classifies rightly: (N,) booleans."""
        assert self._labelled is not None
        with torch.no_grad():
            chunks = torch.split(self._labelled.images, ROWS)
            classes = torch.cat([module(chunk).argmax(dim=1) for chunk in chunks])
        return classes == self._labelled.labels


def _check_images(what: str, images: torch.Tensor, shape: tuple[int, int, int], least: int) -> None:
    wanted = f"(N >= {least}, {', '.join(map(str, shape))}) float32, finite"
    fits = images.ndim == 4 and tuple(images.shape[1:]) == shape and len(images) >= least
    if not fits or images.dtype != torch.float32 or not bool(torch.isfinite(images).all()):
        found = f"{tuple(images.shape)} {str(images.dtype).removeprefix('torch.')}"
        raise BadArtifact(f"the {what} are {found}; give {wanted}")
