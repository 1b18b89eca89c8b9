"""How wrong eager PyTorch is in each way to run it: what a bound is made of."""

from __future__ import annotations

import math

from torch import nn

from compile.proof import parity
from compile.proof.golden import Golden

_LAYOUTS = ("contiguous", "channels_last")


def way_errors(module: nn.Module, precision: str, golden: Golden) -> dict[str, list[float | None]]:
    """Way -> the root mean square error of each sample; None where the output is not finite.

    A way that the module refuses is left out.
    """
    found = {}
    for size, words in ((1, "one by one"), (len(golden.input), "all at once")):
        errors, _ = parity._run_each_way(module, precision, golden, (size,))
        for number, error in enumerate(errors):
            layout = _LAYOUTS[number] if len(errors) == len(_LAYOUTS) else f"layout {number}"
            values = error.tolist()
            found[f"{layout}, {words}"] = [v if math.isfinite(v) else None for v in values]
    return found
