"""How fast a network is trained, beside a plain loop, and how much memory that takes.

`python3 -m results.gpu.training NETWORK ...`: the loops of `zoo train --profile`, which take turns.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace

import torch

from compile import machine
from zoo.errors import ZooError
from zoo.training.choosing import data_and_recipe
from zoo.training.parallel import join
from zoo.training.speed import profile
from zoo.training.train import Work, make_trainer, run_config

_ENDLESS = 100_000
"""Epochs: the time decides."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="results.gpu.training", description=__doc__)
    made.add_argument("network")
    made.add_argument("--device", required=True)
    made.add_argument("--precision", choices=("fp32", "bf16"), required=True)
    made.add_argument("--size", type=int, required=True, help="height and width of the images")
    made.add_argument("--batch", type=int, required=True)
    made.add_argument("--seconds", type=float, default=10.0, help="of timed steps")
    return made


def main() -> int:
    """Measure, and print one JSON document."""
    given = parser().parse_args()
    settings = [f"batch={given.batch}", f"precision={given.precision}", "channels_last=true"]
    try:
        data, recipe = data_and_recipe(
            given.network,
            f"synthetic:10:{2 * given.batch}",
            size=given.size,
            settings=settings,
            device=given.device,
        )
        recipe = replace(recipe, epochs=_ENDLESS)
        with join(given.device) as group:
            config = run_config(given.network, data, recipe, device=given.device)
            trainer = make_trainer(config, data, recipe, Work(group=group, quiet=True))
            speeds = profile(trainer, config.model, config.options, seconds=given.seconds)
    except ZooError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    on_gpu = given.device == "cuda"
    report = {
        "speeds": [asdict(speed) for speed in speeds],
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        "conditions": machine.conditions()
        | vars(given)
        | {
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if on_gpu else None,
        },
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
