"""Which of timm's networks stand in the corpus: by a rule that was written before the first run.

The families are timm's module files. Of each family the first name in sorted order is taken whose
network has at most 30 million parameters and answers one image in under a second on one thread. The
image is 64x64; where the network refuses that, it is its own size, if that is at most 224. Then the
second name of each family, and so on until there are 40 networks. A round is always finished.

`python -m results.corpus.timm_choice` applies the rule and writes timm.json. The list stays as it
is from then on: no network leaves it because of what a run found.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

LIST = Path(__file__).with_name("timm.json")
MOST_PARAMETERS = 30_000_000
SMALL, LARGEST = 64, 224
SECONDS = 1.0
WANTED = 40

Shape = tuple[int, int, int]

_LIBRARIES: list[torch.library.Library] = []
"""Kept, because operators vanish with the object that defined them."""


def import_timm() -> ModuleType:
    """timm, which imports torchvision, whose wheel does not import beside a CPU torch otherwise."""
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        _LIBRARIES.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm
    return timm


def chosen() -> dict[str, Shape]:
    """Name -> shape (C, H, W) of the networks in the list."""
    rows = json.loads(LIST.read_text())["networks"]
    return {row["name"]: (3, row["size"], row["size"]) for row in rows}


def choose(wanted: int = WANTED) -> list[dict[str, object]]:
    """Apply the rule: a row for each network."""
    timm = import_timm()
    families = {name: fitting(timm, name) for name in sorted(timm.list_modules())}
    rows: list[dict[str, object]] = []
    while len(rows) < wanted and families:
        for family in sorted(families):
            row = next(families[family], None)
            if row is None:
                del families[family]
            else:
                rows.append({"family": family, **row})
                print(rows[-1], file=sys.stderr)
    return rows


def fitting(timm: ModuleType, family: str) -> Iterator[dict[str, object]]:
    """The networks of one family that fit the rule, in sorted order."""
    for name in sorted(timm.list_models(module=family)):
        parameters = count(timm, name)
        if parameters > MOST_PARAMETERS:
            continue
        torch.manual_seed(0)
        network = timm.create_model(name, pretrained=False).eval()
        size = takes(network)
        if size is not None:
            yield {"name": name, "size": size, "parameters": parameters}


def count(timm: ModuleType, name: str) -> int:
    """How many parameters a network has, without filling them where timm allows that."""
    try:
        with torch.device("meta"):
            network = timm.create_model(name, pretrained=False)
    except Exception:  # it looks at its own numbers while it is made
        network = timm.create_model(name, pretrained=False)
    return sum(each.numel() for each in network.parameters())


def takes(network: nn.Module) -> int | None:
    """The size of image that the rule gives it; None if it is too slow or takes none."""
    own = max(network.pretrained_cfg["input_size"][1:])  # type: ignore[index,union-attr]
    for size in (SMALL, own):
        if size > max(SMALL, LARGEST):
            return None
        image = torch.randn(1, 3, size, size)
        seconds = []
        try:
            with torch.no_grad():
                for _ in range(3):
                    start = time.perf_counter()
                    network(image)
                    seconds.append(time.perf_counter() - start)
        except Exception:  # another error for each way to refuse a size
            continue
        return size if min(seconds) < SECONDS else None
    return None


def main() -> None:
    """Write the list."""
    torch.set_num_threads(1)
    timm = import_timm()
    rows = choose()
    head = {"timm": timm.__version__, "torch": torch.__version__, "rule": __doc__}
    LIST.write_text(json.dumps({**head, "networks": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
