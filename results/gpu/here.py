"""What a machine has: its GPUs, tools and Python packages, and which of them zoo's own pins refuse.

`python3 -m results.gpu.here` prints it as JSON. Nothing heavy is imported.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compile import machine

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("nvcc", "cmake", "ninja", "g++")
OTHERS = ("triton", "torchao", "onnxruntime", "torch-tensorrt", "tensorrt", "openvino")
"""Packages that are not required, and decide what can be built."""
MADE_UP = (sys.executable, "-c", "print('A GPU that is made up, 0.0, 9.0, 1024')")
"""Lists the GPU of a dry run."""


def tools() -> dict[str, str | None]:
    """The version of each tool, as its last line with a number says; None if it is missing."""
    return {name: _version_line(name) for name in TOOLS}


def _version_line(name: str) -> str | None:
    if shutil.which(name) is None:
        return None
    lines = [line for line in _said((name, "--version")).splitlines() if re.search(r"\d\.\d", line)]
    return lines[0].strip() if lines else "no version"


def _said(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def packages() -> list[dict[str, Any]]:
    """Each package that pyproject.toml requires: what it allows, what is here, whether that fits.

    `pinned` is what constraints.txt asks ./setup to install.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    rows = []
    for requirement in project["dependencies"]:
        match = re.match(r"([\w-]+)(.*)", requirement)
        assert match is not None
        name, allowed = match[1], match[2]
        here = _installed(name)
        fits = here is not None and all(_holds(here, each) for each in allowed.split(","))
        row = {"name": name, "allowed": allowed, "here": here, "fits": fits}
        rows.append(row | {"pinned": pins.get(name)})
    return rows


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _holds(here: str, rule: str) -> bool:
    """Whether a version fulfils `>=1.2` or `<3`; its local tag and letters do not count."""
    match = re.match(r"(>=|<)([\d.]+)$", rule)
    assert match is not None, rule
    one, other = _numbers(here), _numbers(match[2])
    return one >= other if match[1] == ">=" else one < other


def _numbers(text: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", text)
    numbers = [int(each) for each in found[0].split(".")] if found else []
    return tuple(numbers + [0] * (4 - len(numbers)))


def refusals(rows: list[dict[str, Any]]) -> list[str]:
    """What an installer would refuse here, in plain words."""
    said = []
    for row in rows:
        name, here = row["name"], row["here"]
        if here is None:
            said.append(f"{name}{row['allowed']} is required and not installed")
        elif not row["fits"]:
            said.append(f"{name} {here} is here, and pyproject.toml allows {row['allowed']}")
        elif row["pinned"] and not here.startswith(row["pinned"]) and name == "torch":
            said.append(
                f"torch {here} is allowed by pyproject.toml ({row['allowed']}), but ./setup would "
                f"replace it: constraints.txt pins {row['pinned']}"
            )
    return said


def report() -> dict[str, Any]:
    """All of it, without the GPUs."""
    rows = packages()
    spec = find_spec("torch")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    return {
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "cpu": machine.cpu_model(),
        "cores": machine.usable_cores(),
        "disk_free_bytes": shutil.disk_usage(ROOT).free,
        "tools": tools(),
        "torch_has_cuda": (folder / "lib" / "libtorch_cuda.so").exists(),
        "packages": rows,
        "others": {name: _installed(name) for name in OTHERS},
        "refusals": refusals(rows),
    }


if __name__ == "__main__":
    print(json.dumps(report()))
