"""Interrupt a training run and resume it: `python3 -m results.gpu.resuming NETWORK ...`."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

INTERRUPTED = 130
_DEADLINE_S = 60.0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="results.gpu.resuming", description=__doc__)
    made.add_argument("network")
    made.add_argument("--device", required=True)
    made.add_argument("--epochs", type=int, required=True, help="more than are trained in a second")
    made.add_argument("--root", type=Path, required=True, help="where the run will lie")
    return made


def main() -> int:
    """Train, interrupt after the first epoch, resume; 1 if the run is not finished then."""
    given = parser().parse_args()
    root = given.root / "resumed"
    train = [sys.executable, "-m", "zoo", "train"]
    begin = [given.network, "--data", "synthetic:10:64", "--size", "8", "--out", str(root)]
    begin += ["--device", given.device, "--epochs", str(given.epochs), "--set", "batch=16"]
    process = subprocess.Popen([*train, *begin, "--quiet"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + _DEADLINE_S
    while epochs_in(root) < 1 and process.poll() is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)  # polls the other process
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=_DEADLINE_S)
    if process.returncode != INTERRUPTED:
        print(f"interrupting ended with {process.returncode}: {said.strip()}", file=sys.stderr)
        return 1
    (folder,) = root.glob("*/*")
    epochs = epochs_in(root)
    resume = [*train, "--resume", str(folder), "--device", given.device, "--json"]
    done = subprocess.run(resume, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"resuming failed: {done.stderr.strip()}", file=sys.stderr)
        return 1
    results = json.loads(done.stdout)["results"]
    print(json.dumps({"interrupted_after_epochs": epochs, "results": results}))
    return 0 if results["epochs"] == given.epochs else 1


def epochs_in(root: Path) -> int:
    """How many epochs the one run below `root` has written down; 0 before it has begun."""
    found = [path.read_text().splitlines() for path in root.glob("*/*/metrics.csv")]
    return max((len(lines) - 1 for lines in found), default=0)


if __name__ == "__main__":
    sys.exit(main())
