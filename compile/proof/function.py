"""Is the module a function of one image? Nothing is compared with it before that is known.

It must give the same answer to the same image: whatever random numbers were drawn, however often
it was called, and whatever other images are in the batch. docs/parity.md says how this is found
out, under "A module must be a function".
"""

from __future__ import annotations

from functools import cache, cached_property

import torch
from torch import nn

from compile.errors import CheckFailed
from compile.network.batches import sizes_compared
from compile.network.checking import quiet_torch
from compile.network.copying import copied
from compile.network.network import Network
from compile.proof import yardstick
from compile.proof.apart import LIMIT, distance, distances, in_words
from compile.proof.each_sample import changing_row
from compile.proof.golden import Bounds, Golden, choose_samples
from compile.proof.mates import mixing, mixing_at
from compile.proof.repeats import ADVICE, own_randomness, seed, unsteady
from compile.proof.samples import GoldenSamples
from compile.spec import CompileSpec

_SIZES = range(2, 9)
"""Batches that are tried one by one if a range holds them."""


class Function:
    """Whether a module is a function of one image. Each answer is found once and kept."""

    def __init__(self, network: Network, samples: GoldenSamples) -> None:
        """Copy the module of `network`, which nobody has called yet."""
        self.network = network
        self.samples = samples
        self._untouched = copied(network.given)
        self._mixing = cache(self._find_mixing)
        self._mixing_at = cache(self._find_mixing_at)

    def check(self) -> None:
        """Raise CheckFailed if an answer depends on random numbers or on earlier calls."""
        if self._fault is not None:
            raise CheckFailed(self._fault)

    def check_batch(self, spec: CompileSpec) -> None:
        """Raise CheckFailed if an answer depends on the other images of a batch of `spec`.

        There are none at batch 1.
        """
        if spec.batch == (1, 1):
            return
        found = self._mixing(spec.input_type) or self._mixing_at(spec.input_type, spec.batch)
        if found is not None:
            raise CheckFailed(
                f"{found}; answer each image as if it were alone, or build it for --batch 1"
            )

    def mixes(self, input_type: str) -> bool:
        """Whether the answer to one of the samples depends on the other images of its batch."""
        return self._mixing(input_type) is not None

    def bounds(self, module: nn.Module, precision: str, golden: Golden, input_type: str) -> Bounds:
        """The bounds of programs of `module`, by the ways that are legal for this function.

        `module` returns rows. See yardstick.measure_bounds.
        """
        return yardstick.measure_bounds(
            module,
            precision,
            golden,
            one_by_one=self.mixes(input_type),
            channels_first=self._needs_channels_first,
        )

    @cached_property
    def _fault(self) -> str | None:
        """What makes answers to one image differ, in words; None if nothing does."""
        return (
            self._unsteady
            or self._fault_on_a_sample()
            or self._fault_in_float64()
            or self._not_finite()
            or self._fault_in_float32()
        )

    @cached_property
    def _unsteady(self) -> str | None:
        images, _ = choose_samples(self.network.shape, self.samples.real)
        return self._unsteady_on(images[:1], images[-1:])

    def _unsteady_on(self, *images: torch.Tensor) -> str | None:
        """What makes answers to one of two images differ, in words."""
        return unsteady(self._new(), images, self.network.layout.columns)

    def _new(self) -> nn.Module:
        """The module as it was before anybody called it; it returns its outputs in rows."""
        return self.network.in_rows(self.network.compiled(copied(self._untouched)))

    def _fault_on_a_sample(self) -> str | None:
        """What shows on some of the samples only: most are ordinary images."""
        golden = self.samples.of_type("float32")
        try:
            found = changing_row(self._new(), golden)
        except CheckFailed as error:
            return str(error)
        if found is None:
            return None
        row, far = found
        images = golden.pixels.float()
        reason = self._unsteady_on(images[row : row + 1], images[:1])
        where = f"row {row} ({golden.kinds[row]})"
        return (
            f"{reason}; found on {where}"
            if reason
            else f"answers to {where} differ by {in_words(far)} from call to call; {ADVICE}"
        )

    def _fault_in_float64(self) -> str | None:
        golden = self.samples.of_type("float32")
        columns = golden.layout.columns
        with own_randomness():
            for number in (1, 2):
                seed(number)
                far = distance(self.network.oracle(golden.pixels[:1]), golden.oracle[:1], columns)
                if far > LIMIT[torch.float64]:
                    return f"in float64 answers to the same image differ by {in_words(far)}"
        return None

    def _not_finite(self) -> str | None:
        """Which answer to an ordinary sample cannot be compared with anything."""
        golden = self.samples.of_type("float32").ordinary
        for output, columns in enumerate(golden.layout.columns):
            finite = golden.oracle[:, columns].isfinite().all(dim=1)
            if not bool(finite.all()):
                row = int(finite.int().argmin())
                return (
                    f"the answer to row {row} ({golden.what(row, output)}) is not finite, in "
                    "float64 either; return finite numbers: x.clamp_min(1e-6).log() for x.log()"
                )
        return None

    @cached_property
    def _needs_channels_first(self) -> bool:
        """Whether the module computes something else if the channels of an image come last in
        memory, as one with as_strided does. That way to evaluate it is not a legal one then."""
        try:
            far = self._far_in_float32(torch.channels_last)
        except RuntimeError:  # it cannot be evaluated that way at all
            return True
        return float(far.max()) > self.network.oracle.allowed

    def _far_in_float32(self, layout: torch.memory_format) -> torch.Tensor:
        """How far the module in float32 is away from the oracle: (ordinary samples, outputs)."""
        golden = self.samples.of_type("float32").ordinary
        module = copied(self.network.module).to(memory_format=layout)  # type: ignore[call-overload]
        with torch.no_grad(), quiet_torch(), own_randomness():
            rows = torch.split(golden.pixels.float(), 1)
            answers = [module(row.contiguous(memory_format=layout)) for row in rows]
        return distances(torch.cat(answers), golden.oracle, golden.layout.columns)

    def _fault_in_float32(self) -> str | None:
        """What shows that the module computes something else than its oracle."""
        golden = self.samples.of_type("float32").ordinary
        far = self._far_in_float32(torch.contiguous_format)
        row, output = divmod(int(far.argmax()), far.shape[1])
        if float(far[row, output]) <= self.network.oracle.allowed:
            return None
        return (
            f"in float32 the answer to row {row} ({golden.what(row, output)}) is "
            f"{in_words(float(far[row, output]))} away from the one in float64: the module "
            "computes something else there, or loses its digits; compute the same for every type, "
            "and choose with torch.where"
        )

    def _find_mixing(self, input_type: str) -> str | None:
        return mixing(self.network.oracle, self.samples.of_type(input_type))

    def _find_mixing_at(self, input_type: str, batch: tuple[int, int]) -> str | None:
        sizes = {size for size in _SIZES if batch[0] <= size <= batch[1]}
        if batch[0] < batch[1] and batch[1] > max(_SIZES):
            module = copied(self.network.compiled(self.network.given))
            sizes.update(sizes_compared(module, CompileSpec(shape=self.network.shape, batch=batch)))
        return mixing_at(sorted(sizes - {1}), self.network.oracle, self.samples.of_type(input_type))
