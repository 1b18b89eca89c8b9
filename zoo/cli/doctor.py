"""zoo doctor: what this machine has, what each backend can do, and what to add."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.cli.command import Command
from zoo.cli.options import JsonOption, RunnerOption

_TOOLS = ("g++", "cmake", "ninja")
"""What zoo-run is built with, in a checkout; inductor needs the first one everywhere."""


@dataclass(frozen=True, kw_only=True)
class Doctor(RunnerOption, JsonOption, Command):
    """Say what this machine has, what each backend can do, and what to add."""

    def run(self) -> None:
        """Print it."""
        from compile.advice import how_to_build_runner, in_checkout
        from compile.machine import conditions, gpus, package_version
        from compile.report import show, to_json
        from compile.runner import find_runner
        from zoo.cli.tables import wrapped

        runner, checkout = find_runner(self.runner), in_checkout()
        tools = _TOOLS if checkout else _TOOLS[:1]
        report: dict[str, Any] = {
            "conditions": conditions(),
            "checkout": checkout,
            "gpus": [asdict(gpu) for gpu in gpus()],
            "tools": {name: shutil.which(name) for name in tools}
            | {"zoo-run": str(runner) if runner else None},
            "packages": {name: package_version(name) for name in _packages()},
            "backends": {name: asdict(each) for name, each in _backends().items()},
            "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        }
        if self.json:
            print(to_json(report), end="")
            return
        show(_machine_table(report), "")
        show(*wrapped([line for name in report["backends"] for line in _lines(report, name)]))
        if runner is None:
            show("", *wrapped([f"zoo-run: {how_to_build_runner()}"]))
        build = runner is None and checkout
        show("", f"next: {'./setup runner' if build else 'zoo train resnet18'}")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a backend can do on this machine."""

    can: dict[str, list[str]]
    """Device -> precisions that it builds."""
    lacks: list[str]
    """What keeps it from the others, each in one line."""
    command: str | None
    """The one command that adds most of them; None if there is none."""


def standing(name: str) -> Standing:
    """What the backend called `name` can do here."""
    from compile.advice import Missing
    from compile.backends import backend

    chosen = backend(name)
    can: dict[str, list[str]] = {}
    lacks: dict[str, Missing | None] = {}
    for device, precisions in chosen.PRECISIONS.items():
        for precision in precisions:
            reason = chosen.missing(device, precision)
            if reason is None:
                can.setdefault(device, []).append(precision)
            else:
                lacks[str(reason)] = reason if isinstance(reason, Missing) else None
    commands = [each.command for each in lacks.values() if each is not None and each.command]
    return Standing(can=can, lacks=list(lacks), command=max(commands, key=len, default=None))


def _lines(report: dict[str, Any], name: str) -> list[str]:
    """A backend's line: what it builds here; then the command that adds something, or why none."""
    row = report["backends"][name]
    built = "; ".join(f"{device} {', '.join(can)}" for device, can in row["can"].items())
    line = f"{name}: {built or 'nothing here'}"
    if row["command"] is not None:
        return [f"{line}; to add: {row['command']}"]
    if not row["can"]:
        return [f"{line}; {row['lacks'][0]}"]
    others = [lack for lack in row["lacks"] if report["gpus"] or "NVIDIA" not in lack]
    return ["; ".join([line, *others])]


def _machine_table(report: dict[str, Any]) -> Any:
    from compile.report import table

    here = report["conditions"]
    packages = report["packages"].items()
    gpus = [
        f"{gpu['name']}, driver {gpu['driver']}, compute capability {gpu['compute_capability']}"
        for gpu in report["gpus"]
    ]
    rows = [
        ("cpu", f"{here['cpu']}, {here['cores']} cores, {here['level']}"),
        *(("gpu", gpu) for gpu in gpus or ["none: nvidia-smi lists no NVIDIA GPU"]),
        ("zoo", "in a checkout" if report["checkout"] else "installed from a wheel"),
        *here["versions"].items(),
        *((name, path or "missing") for name, path in report["tools"].items()),
        *((name, number or "not installed (optional)") for name, number in packages),
        ("disk free", f"{report['disk_free_bytes'] / 1e9:.0f} GB"),
    ]
    return table(("", "here"), rows, left=("", "here"))


def _packages() -> list[str]:
    """What the backends' rows name."""
    from compile.backends import BACKENDS, backend

    return list(dict.fromkeys(package for name in BACKENDS for package in backend(name).PACKAGES))


def _backends() -> dict[str, Standing]:
    """What each backend can do here."""
    from compile.backends import BACKENDS

    return {name: standing(name) for name in BACKENDS}
