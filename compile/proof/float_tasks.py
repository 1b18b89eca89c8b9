"""Makes the tasks of the floating-point precisions: fp32, tf32, bf16 and fp16."""

from __future__ import annotations

from functools import cache

from compile.network.network import Network
from compile.network.pixels import FromBytes
from compile.network.prepare import cast, eager_dtype
from compile.precision import REFERENCE
from compile.precision import precision as find_precision
from compile.proof import gates, yardstick
from compile.proof.forms import Weight, weights_read
from compile.proof.function import Function
from compile.proof.gates import Gate
from compile.proof.golden import Bounds
from compile.proof.samples import GoldenSamples
from compile.proof.task import Task
from compile.spec import CompileSpec


class FloatTasks:
    """The folded network is cast; the bounds come from PyTorch's own error at the precision.

    PyTorch's error is measured once for each precision and input type.
    """

    def __init__(self, network: Network, samples: GoldenSamples, function: Function) -> None:
        self.network = network
        self.samples = samples
        self.function = function
        self.weights = cache(self._read_weights)
        self._bounds = cache(self._measure_bounds)
        self._before_cast = cache(self._judge_before_cast)

    def make(self, spec: CompileSpec) -> Task:
        """The task of a build for `spec`."""
        module = cast(self.network.folded, spec.precision)
        lowered = find_precision(spec.precision).lowered
        if spec.input_type == "uint8":
            module = FromBytes(module, self.samples.normalisation)
        golden, bounds = yardstick.finite_rows(
            self.samples.of_type(spec.input_type),
            self._bounds(spec.precision, spec.input_type),
            spec.precision,
        )
        return Task(
            module=module,
            golden=golden,
            bounds=bounds,
            weights=self.weights(spec.precision),
            gates=[self._before_cast(spec.input_type)] if lowered else [],
            skipped=[],
            quantization=None,
        )

    def _read_weights(self, precision: str) -> list[Weight]:
        return weights_read(self.network.exported, eager_dtype(precision))

    def _measure_bounds(self, precision: str, input_type: str) -> Bounds:
        golden = self.samples.in_float32(self.samples.of_type(input_type))
        return self.function.bounds(self.network.module, precision, golden, input_type)

    def _judge_before_cast(self, input_type: str) -> Gate:
        golden = self.samples.in_float32(self.samples.of_type(input_type))
        golden, bounds = yardstick.finite_rows(
            golden, self._bounds(REFERENCE, input_type), REFERENCE
        )
        folded = self.network.in_rows(self.network.folded)
        return gates.before_cast(folded, golden, bounds)
