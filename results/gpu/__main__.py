"""`just gpu`, or `python3 -m results.gpu`: what zoo does on an NVIDIA GPU, in ten minutes.

It takes the Python that it is run with: nothing is installed, and no .venv is needed. Each stage
writes one line of JSON into results/gpu-<gpu>-<date>.jsonl as it ends. A stage that fails does not
stop the next one. `--dry-run` runs the same commands on a CPU, as small as they can be, and looks
at the command lines of the real run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from compile import machine
from compile.errors import Unavailable, ZooError
from results.gpu import here, pack, words
from results.gpu.plan import REAL, STAGES, TINY, Plan, Stage
from results.gpu.running import ROOT, Ran, run_all


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="just gpu", description=__doc__)
    made.add_argument("--dry-run", action="store_true", help="on a CPU, with a GPU that is made up")
    made.add_argument("--stage", action="append", choices=[each.name for each in STAGES])
    made.add_argument("--out", type=Path, default=ROOT / "results", help="where the file goes")
    made.add_argument("--runner", type=Path, help="the zoo-run of a dry run, which builds none")
    return made


def main() -> int:
    """Run the stages; 0 if all passed, 1 if one did not, 4 without a GPU."""
    given = parser().parse_args()
    stages = [each for each in STAGES if given.stage is None or each.name in given.stage]
    try:
        if not given.dry_run:
            runner = ROOT / "build" / "gpu" / "build" / "zoo-run"
            plan = Plan(size=REAL, folder=ROOT / "build" / "gpu", pack=pack.PACK, runner=runner)
            return run_stages(stages, plan, machine.gpus(), given.out)
        with tempfile.TemporaryDirectory(prefix="zoo-gpu-") as folder:
            root = Path(folder)
            pack.pack(root / "pack")
            runner = given.runner or ROOT / "build" / "runtime" / "zoo-run"
            plan = Plan(size=TINY, folder=root, pack=root / "pack", runner=runner)
            return run_stages(stages, plan, machine.gpus(here.MADE_UP), given.out)
    except ZooError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return error.exit_code


def run_stages(stages: list[Stage], plan: Plan, gpus: list[machine.Gpu], out: Path) -> int:
    """Run them in order, and write each one's line as it ends. Raises Unavailable without a GPU."""
    if not gpus:
        raise Unavailable("nvidia-smi lists no GPU here; --dry-run needs none")
    conditions = {
        "gpus": [asdict(gpu) for gpu in gpus],
        "cpu": machine.cpu_model(),
        "cores": machine.usable_cores(),
        "versions": machine.versions("triton"),
        "commit": machine.commit() or pack.commit_of(plan.pack),
        "dry_run": plan.size is TINY,
    }
    name = re.sub(r"[^a-z0-9]+", "-", gpus[0].name.lower()).strip("-")
    path = out / f"gpu-{name}-{machine.now()[:10]}.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for stage in stages:
        row = run_stage(stage, plan)
        failed += row["reason"] is not None
        with open(path, "a") as file:
            file.write(
                json.dumps(row | {"conditions": conditions | {"date": machine.now()}}) + "\n"
            )
        print("\n".join(summary(row)), file=sys.stderr, flush=True)
    print(f"gpu: {len(stages) - failed} of {len(stages)} stages passed; {path}")
    return 1 if failed else 0


def run_stage(stage: Stage, plan: Plan) -> dict[str, Any]:
    """Run one stage: the line that is written of it, without the conditions."""
    begun, limit = time.monotonic(), stage.seconds * plan.size.patience
    at_once = stage.at_once(plan.size)
    share = str(max(1, machine.usable_cores() // at_once))
    env = {"PYTHONPATH": str(ROOT)} | ({"OMP_NUM_THREADS": share} if at_once > 1 else {})
    ran: list[Ran] = []
    faults: list[str] = []
    try:
        steps = [
            replace(step, seconds=step.seconds * plan.size.patience) for step in stage.steps(plan)
        ]
        ran = run_all(steps, begun + limit, at_once, env)
        if plan.size is TINY:
            real = stage.steps(replace(plan, size=REAL))
            faults = [found for step in real if (found := words.fault(step.command))]
    except Exception as error:  # whatever breaks here must not end the stages that follow
        faults.append(f"{type(error).__name__}: {error}")
    faults += [f"{each.name}: {each.reason}" for each in ran if each.reason is not None]
    return {
        "stage": stage.name,
        "reason": "; ".join(faults) or None,
        "seconds": round(time.monotonic() - begun, 1),
        "limit_s": limit,
        "steps": [asdict(each) for each in ran],
    }


def summary(row: dict[str, Any]) -> list[str]:
    """What a reader sees of a stage: how many steps passed, and why the others did not."""
    passed = sum(step["reason"] is None for step in row["steps"])
    lines = [f"{row['stage']}: {passed} of {len(row['steps'])} steps in {row['seconds']} s"]
    lines += [f"  {step['name']}: {step['reason']}" for step in row["steps"] if step["reason"]]
    for step in row["steps"]:
        refusals = [said for each in step["said"] for said in _refusals(each)]
        lines += [f"  {said}" for said in refusals]
    if row["reason"] and passed == len(row["steps"]):
        lines.append(f"  {row['reason']}")
    return lines


def _refusals(document: Any) -> list[str]:
    return document.get("refusals", []) if isinstance(document, dict) else []


if __name__ == "__main__":
    sys.exit(main())
