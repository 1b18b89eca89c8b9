"""Does a module give each sample the same answer again, and leave the sample as it is?

What a module does to bright pixels alone shows on the hostile samples only.
"""

from __future__ import annotations

import torch
from torch import nn

from compile.errors import CheckFailed
from compile.network.checking import quiet_torch
from compile.proof.apart import LIMIT, distance
from compile.proof.golden import Golden
from compile.proof.repeats import own_randomness, seed


@torch.no_grad()
def changing_row(module: nn.Module, golden: Golden) -> tuple[int, float] | None:
    """The first sample that gets two answers, and how far they are apart; None if there is none.

    Each sample is given twice: in the order of `golden`, then in reverse, with other random
    numbers.

    Args:
        module: on the CPU, in evaluation mode; it returns rows and is called.
        golden: its pixels are given one by one, as float32.

    Raises:
        CheckFailed: the module writes into its input, or into an answer that it gave before.
    """
    images = torch.split(golden.pixels.float(), 1)
    with own_randomness(), quiet_torch():
        answers = _answers(module, images, golden.kinds)
        for row in reversed(range(len(images))):
            seed(len(images) + row)
            again = module(images[row].clone())
            far = distance(again, answers[row], golden.layout.columns)
            if far > LIMIT[torch.float32]:
                return row, far
    return None


def _answers(
    module: nn.Module, images: tuple[torch.Tensor, ...], kinds: tuple[str, ...]
) -> list[torch.Tensor]:
    """The answer to each image. What the module may not write to is looked at on the way."""
    answers: list[torch.Tensor] = []
    before: torch.Tensor | None = None
    for row, image in enumerate(images):
        seed(row)
        given = image.clone()
        answer = module(given)
        if not torch.equal(given, image):
            raise CheckFailed(
                f"the module writes into its input (row {row}, {kinds[row]}); clone it first in "
                "forward"
            )
        if before is not None and distance(before, answers[-1]) > 0:
            raise CheckFailed(
                "the module returns memory that its next call writes to; return x.clone()"
            )
        before = answer
        answers.append(answer.clone())
    return answers
