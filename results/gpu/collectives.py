"""What training says to other processes, said over a process group: nccl on a GPU.

`torchrun --standalone --nproc-per-node 1 -m results.gpu.collectives --device cuda`. One process can
do that too, so one GPU is enough to see that the calls are allowed and return what they should.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from torch import distributed

from zoo.errors import ZooError
from zoo.training.parallel import Group, join


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="results.gpu.collectives", description=__doc__)
    made.add_argument("--device", required=True)
    return made


def main() -> int:
    """Make each call once; 1 if one returned something wrong."""
    given = parser().parse_args()
    try:
        with join(given.device) as group:
            faults = wrong(group)
            report = {
                "backend": distributed.get_backend(),
                "processes": group.size,
                "nccl": torch.cuda.nccl.version() if given.device == "cuda" else None,
            }
    except ZooError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(report))
    if faults:
        print(f"wrong answers of: {', '.join(faults)}", file=sys.stderr)
    return 1 if faults else 0


def wrong(group: Group) -> list[str]:
    """The calls of Group that return something wrong."""
    faults = []
    if group.sums(1.0, 2.5) != [group.size, 2.5 * group.size]:
        faults.append("sums")
    values = torch.full((3,), float(group.rank), device=group.device)
    group.share([values])
    if values.tolist() != [0.0, 0.0, 0.0]:
        faults.append("share")
    if group.same(f"said by {group.rank}") != "said by 0":
        faults.append("same")
    return faults


if __name__ == "__main__":
    sys.exit(main())
