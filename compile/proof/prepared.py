"""A network made ready once for all artifacts that are compiled from it.

Network -> GoldenSamples -> FloatTasks or QuantisedTasks -> Task. Folding, the oracle, PyTorch's
own errors and calibration take longer than many a build; each step keeps what it computed, so that
twenty artifacts of a network pay for it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from compile.backends.base import Backend
from compile.network.network import Network
from compile.network.pixels import Normalisation
from compile.network.quantize import scheme_here
from compile.precision import precision as find_precision
from compile.proof.float_tasks import FloatTasks
from compile.proof.forms import Weight
from compile.proof.function import Function
from compile.proof.golden import Golden
from compile.proof.images import Calibration, Labelled
from compile.proof.quantised_tasks import QuantisedTasks
from compile.proof.samples import GoldenSamples
from compile.proof.task import Task
from compile.spec import CompileSpec


class PreparedModel:
    """A network, the images that go with it, and the makers of its tasks.

    Args:
        module: takes float32 (N, C, H, W) and returns float32 tensors (N, ...): one, or a tuple or
            dict of them. It is copied, and put into evaluation mode.
        shape: (C, H, W) of one sample.
        samples: real inputs (N >= 8, C, H, W) float32 to prove with, or None.
        calibration: images for the quantised precisions, or None.
        labelled: samples that measure what quantisation costs, or None.
        mean, std: per channel, of pixels scaled to 0..1: what a byte input is normalised with.
        outputs: what is returned instead, by name: the path of a module for what that module
            returns, `PATH:input` for what it is given, `PATH:KEY` for one tensor of several that it
            returns. None: what `module` returns.
        classes: how many class names are known. An output of so many values holds their scores.

    Raises BadArtifact for images that do not fit the shape or are not finite, UsageError for an
    output that the module does not have.
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
        outputs: Mapping[str, str] | None = None,
        classes: int | None = None,
    ) -> None:
        self.network = Network(module, shape, outputs=outputs, classes=classes)
        self.normalisation = Normalisation(
            mean=tuple(mean or [0.0] * shape[0]), std=tuple(std or [1.0] * shape[0])
        )
        self.samples = GoldenSamples(self.network, self.normalisation, samples)
        self.function = Function(self.network, self.samples)
        self.float_tasks = FloatTasks(self.network, self.samples, self.function)
        self.quantised_tasks = QuantisedTasks(
            self.network, self.samples, self.function, calibration, labelled
        )

    def task(self, spec: CompileSpec, backend: Backend) -> Task:
        """What `backend` is to build for `spec`, and what its result is held to.

        Raises BadArtifact or CheckFailed for a module that cannot be compiled or is not a function,
        NotBuildable for a quantised precision without images to calibrate with.
        """
        self.network.check()
        self.function.check()
        _ = self.network.folded  # refuses what its graph shows, and names the layer
        self.function.check_batch(spec)
        if find_precision(spec.precision).quantised:
            return self.quantised_tasks.make(spec, scheme_here(backend.QUANTIZER))
        return self.float_tasks.make(spec)

    def golden(self, input_type: str) -> Golden:
        """The samples that every artifact of this input type proves itself on."""
        return self.samples.of_type(input_type)

    def weights(self, precision: str, scheme: str = "") -> list[Weight]:
        """What a file at `precision` must hold, before it is rounded to it."""
        if find_precision(precision).quantised:
            return self.quantised_tasks.weights(scheme)
        return self.float_tasks.weights(precision)
