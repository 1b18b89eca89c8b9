"""Makes the tasks of the quantised precisions: int8 and fp8."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache, cached_property

import torch
from torch import nn

from compile.errors import CheckFailed, NotBuildable
from compile.machine import package_version
from compile.network.batches import why_not
from compile.network.fake_quantised import FakeQuantised, simulated
from compile.network.network import Network
from compile.network.oracle import MODULE, oracle_on_grid
from compile.network.pixels import FromBytes
from compile.network.quantize import quantize
from compile.network.weights import weights_sha256
from compile.precision import precision as find_precision
from compile.proof import yardstick
from compile.proof.forms import SAME_ANSWER, Weight, plain
from compile.proof.function import Function
from compile.proof.golden import Bounds, Golden
from compile.proof.images import Calibration, Labelled, check_images
from compile.proof.quantisation_cost import Cost, quantisation_cost
from compile.proof.samples import GoldenSamples
from compile.proof.task import Task
from compile.spec import CompileSpec


class QuantisedTasks:
    """The folded network is put on a grid; the program is held to that graph.

    Calibration happens once for each scheme, and each error is measured once.
    """

    def __init__(
        self,
        network: Network,
        samples: GoldenSamples,
        function: Function,
        calibration: Calibration | None,
        labelled: Labelled | None,
    ) -> None:
        if calibration is not None:
            check_images("calibration images", calibration.images, network.shape, at_least=1)
        self.network = network
        self.samples = samples
        self.function = function
        self.calibration = calibration
        self.labelled = labelled
        self.graph = cache(self._quantise)
        self._on_grid = cache(self._answer_on_grid)
        self._bounds = cache(self._measure_bounds)
        self._cost = cache(self._measure_cost)

    @cached_property
    def calibration_sha256(self) -> str | None:
        """A hash of the calibration images; None where there are none."""
        if self.calibration is None:
            return None
        return weights_sha256({"calibration": self.calibration.images})

    def make(self, spec: CompileSpec, scheme: str) -> Task:
        """The task of a build for `spec`, on the grid of `scheme`.

        Raises NotBuildable where there are no images to calibrate with, CheckFailed for a batch
        that the graph does not take.
        """
        graph = self.graph(scheme)
        if graph.single and spec.batch != (1, 1):
            raise CheckFailed(
                why_not(self.network.folded, spec)
                or f"in {spec.precision} its graph takes one image at a time: its forward makes a "
                "number of the batch, as len(x) does; write x.shape[0], or build it for --batch 1"
            )
        module: nn.Module = copy.deepcopy(graph)
        if spec.input_type == "uint8":
            module = FromBytes(module, self.samples.normalisation)
        golden, bounds = yardstick.finite_rows(
            self._golden(spec.precision, spec.input_type, scheme),
            self._bounds(spec.precision, spec.input_type, scheme),
            spec.precision,
        )
        cost = self._cost(spec.precision, scheme)
        return Task(
            module=module,
            golden=golden,
            bounds=bounds,
            weights=self.weights(scheme),
            gates=list(cost.gates),
            skipped=list(cost.skipped),
            quantization={
                "scheme": scheme,
                "calibration": self._images().source,
                "samples": len(self._images().images),
                "torchao": package_version("torchao"),
                "accuracy": cost.accuracy,
            },
        )

    def weights(self, scheme: str) -> list[Weight]:
        """What every file on the grid of `scheme` must hold, and what need not be in it."""
        graph = self.graph(scheme)
        decided = [plain(name, values) for name, values in graph.weights()]
        blind = graph.weights(blind=True)
        return decided + [plain(name, values, SAME_ANSWER) for name, values in blind]

    def _images(self) -> Calibration:
        if self.calibration is None:
            raise NotBuildable(
                "int8 needs images to calibrate with: give --calibrate a folder of them"
            )
        return self.calibration

    def _quantise(self, scheme: str) -> FakeQuantised:
        """The fake-quantised graph; not to be changed."""
        images = self._images().images
        return quantize(self.network.folded, images, scheme)

    def _golden(self, precision: str, input_type: str, scheme: str) -> Golden:
        """The samples with the oracle that the precision is held to."""
        if find_precision(precision).on_own_grid:
            return self._on_grid(input_type, scheme)
        return self.samples.of_type(input_type)

    def _answer_on_grid(self, input_type: str, scheme: str) -> Golden:
        """The samples with the graph in float64 as their oracle."""
        golden = self.samples.of_type(input_type)
        exact = simulated(self.graph(scheme), torch.float64)
        rows = self.network.in_rows(exact)
        return replace(golden, oracle=oracle_on_grid(exact, rows, golden.pixels), way=MODULE)

    def _measure_bounds(self, precision: str, input_type: str, scheme: str) -> Bounds:
        golden = self.samples.in_float32(self._golden(precision, input_type, scheme))
        graph = self.network.in_rows(self._in_float32(precision, scheme))
        return self.function.bounds(graph, precision, golden, input_type)

    def _measure_cost(self, precision: str, scheme: str) -> Cost:
        return quantisation_cost(
            self.network.in_rows(self.network.folded),
            self.network.in_rows(self._in_float32(precision, scheme)),
            self.samples.of_type("float32").ordinary,
            self.labelled,
        )

    def _in_float32(self, precision: str, scheme: str) -> nn.Module:
        """The graph as PyTorch computes it, on the grid of the precision."""
        fp8 = find_precision(precision).float_grid
        return simulated(self.graph(scheme), torch.float32, fp8=fp8)
