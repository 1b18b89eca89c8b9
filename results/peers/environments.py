"""The environments of the other tools: each below build/, none of them is .venv.

`python -m results.peers.environments` makes those that are not there yet. One that cannot be made
leaves its reason in a file, and the tools that need it get rows with that reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from compile import machine

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One row of ENVIRONMENTS."""

    packages: tuple[str, ...]
    """What pip installs by name; constraints.txt pins the rest."""
    flags: tuple[str, ...] = ()
    """What the CPU must have, as /proc/cpuinfo calls it."""

    def flags_lacking(self) -> list[str]:
        """Those that this CPU has not."""
        return [flag for flag in self.flags if flag not in machine.cpu_flags()]


ENVIRONMENTS = {
    "peers": Environment(packages=("numpy", "openvino", "onnxruntime", "MNN==3.6.1")),
    "tvm": Environment(packages=("numpy", "onnx", "apache-tvm==0.27.0.post1")),
    "zentorch": Environment(
        packages=("numpy", "torch", "zentorch==2.13.0.2"), flags=("avx512f", "avx512bw")
    ),
}
"""zentorch belongs to one torch. TVM brings a compiler, which others need not get along with."""


def folder_of(name: str) -> Path:
    """Where the environment lies."""
    return ROOT / "build" / f"{name}-venv"


def python_of(name: str) -> Path:
    """Its Python, which may not be there."""
    return folder_of(name) / "bin" / "python"


def lacking(name: str) -> str | None:
    """Why tools of this environment cannot run here, in one line; None if they can."""
    if without := ENVIRONMENTS[name].flags_lacking():
        return f"this CPU has no {' and no '.join(without)}"
    if _reason_file(name).exists():
        return _reason_file(name).read_text().strip()
    if _stamp(name).exists():
        return None
    return f"build/{name}-venv is not there; `just bench-peers` makes it"


def make(name: str) -> str | None:
    """Make an environment unless it is there with these packages; return what `lacking` does."""
    wanted = "\n".join((*ENVIRONMENTS[name].packages, CONSTRAINTS.read_text()))
    is_there = _stamp(name).exists() and _stamp(name).read_text() == wanted
    if is_there or ENVIRONMENTS[name].flags_lacking():
        return lacking(name)
    shutil.rmtree(folder_of(name), ignore_errors=True)
    reason = _installed(name)
    folder_of(name).mkdir(parents=True, exist_ok=True)
    if reason is None:
        _stamp(name).write_text(wanted)
    else:  # the next time it is tried again
        _reason_file(name).write_text(reason + "\n")
    return lacking(name)


def _installed(name: str) -> str | None:
    """Install, and let pip check; return what went wrong."""
    index = os.environ.get("TORCH_INDEX")
    pip = [str(python_of(name)), "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "-c", str(CONSTRAINTS)]
    install += ["--extra-index-url", index] if index else []
    commands = (
        [sys.executable, "-m", "venv", str(folder_of(name))],
        [*install, *ENVIRONMENTS[name].packages],
        [*pip, "check"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            return f"it cannot be installed: {lines[-1] if lines else 'pip said nothing'}"
    return None


def _stamp(name: str) -> Path:
    return folder_of(name) / "installed"


def _reason_file(name: str) -> Path:
    return folder_of(name) / "reason"


def main() -> None:
    """Make them all, and say what each lacks."""
    for name in ENVIRONMENTS:
        print(f"build/{name}-venv: {make(name) or 'ready'}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
