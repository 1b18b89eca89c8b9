"""Does a comparison find a difference that is there, and none where there is none?

`just comparing`: artifacts of a chain of equal convolutions. One has 33 of them, its twin is a copy
of its folder, and a third has 34: 3 % more work. Each pair is compared 20 times, with another seed
each time, and the file says how often `zoo compare` told the two apart.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

import zoo
from compile import machine

FOLDER = Path(__file__).parent
CONVOLUTIONS = 33
CHANNELS = 64
SIZE = 32
"""Height and width: a call takes some milliseconds."""


def chain(length: int) -> nn.Module:
    """So many convolutions of 3x3 one after the other, and one number out for each channel."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(length)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def artifacts(root: Path, backend: str) -> tuple[Path, Path, Path]:
    """The artifact, its twin, and the one with more work."""
    shape = CHANNELS, SIZE, SIZE
    first, slower = (
        zoo.compile(chain(length), shape=shape, name=f"chain{length}", backend=backend, root=root)
        for length in (CONVOLUTIONS, CONVOLUTIONS + 1)
    )
    twin = root / "twin" / first.path.name
    shutil.copytree(first.path, twin)
    return first.path, twin, slower.path


def main() -> None:
    """Compare, keep each ratio as it is found, and print the two counts."""
    parser = argparse.ArgumentParser(prog="just comparing", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="comparisons of each pair")
    parser.add_argument("--backend", default="torchscript")
    options = parser.parse_args()
    kept: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="zoo-comparing-") as folder:
        first, twin, slower = artifacts(Path(folder), options.backend)
        for seed in range(options.times):
            for pair, other in (("twin", twin), ("3 % more work", slower)):
                found = zoo.compare(first, other, seed=seed)["programs"][1]
                kept.append({"pair": pair, "seed": seed, **found["ratio"]})
                print(json.dumps(kept[-1]), file=sys.stderr, flush=True)
    conditions = {**machine.conditions(), "backend": options.backend}
    name = f"comparing-{options.backend}-{machine.now()[:10]}.json"
    (FOLDER / name).write_text(json.dumps({"conditions": conditions, "ratios": kept}, indent=1))
    for pair, right in (("twin", "no difference shown"), ("3 % more work", "slower")):
        own = [each for each in kept if each["pair"] == pair]
        count = sum(each["verdict"] == right for each in own)
        print(f"{pair}: '{right}' in {count} of {len(own)}; {FOLDER.name}/{name}")


if __name__ == "__main__":
    main()
