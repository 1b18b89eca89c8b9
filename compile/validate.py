"""Refuse inputs that a program was not compiled for, in the same words for every backend.

AOTInductor reads out of bounds on a wrong shape and takes any dtype for float32; TorchScript takes
another image size without a word. So inputs are checked here and in the runner, not by them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from compile.backends.base import InputSpec, ProgramFile
from compile.errors import BadArtifact


def check_input(
    x: torch.Tensor,
    wanted: InputSpec,
    programs: Sequence[ProgramFile],
    *,
    allow_nonfinite: bool = False,
) -> ProgramFile:
    """Return the program for the batch of `x`; raise BadArtifact for what does not fit.

    Allowed is the dtype and shape wanted, contiguous, a batch of one of the programs, finite.
    """
    if not isinstance(x, torch.Tensor):
        raise BadArtifact(f"the input is a {type(x).__name__}; give a {wanted} tensor")
    if x.dtype != getattr(torch, wanted.dtype):
        raise BadArtifact(f"the input is {str(x.dtype)[6:]}; give {wanted}")
    if x.ndim != 4 or tuple(x.shape[1:]) != wanted.shape:
        raise BadArtifact(f"the input has shape {tuple(x.shape)}; give {wanted}")
    if len(x) == 0:
        raise BadArtifact(f"the input's batch is empty; give {wanted} with N >= 1")
    if x.layout != torch.strided or not x.is_contiguous():
        layout = "NCHW" if wanted.dtype == "float32" else "NHWC"
        raise BadArtifact(f"the input is not contiguous {layout}; pass x.contiguous()")
    if x.is_floating_point() and not allow_nonfinite and not bool(torch.isfinite(x).all()):
        raise BadArtifact("the input holds NaN or infinity; clean it or allow it explicitly")
    for program in programs:
        if program.batch[0] <= len(x) <= program.batch[1]:
            return program
    batches = ", ".join("{}..{}".format(*program.batch) for program in programs)
    raise BadArtifact(f"the input's batch is {len(x)}; the artifact answers {batches}")
