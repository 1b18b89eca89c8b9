"""zoo doctor: what this machine has, and what each backend needs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.cli.command import Command
from zoo.cli.options import JsonOption, RunnerOption

_TOOLS = ("g++", "cmake", "ninja")


@dataclass(frozen=True, kw_only=True)
class Doctor(RunnerOption, JsonOption, Command):
    """Say what this machine has, and what each backend still needs."""

    def run(self) -> None:
        """Print it."""
        from compile.machine import conditions, package_version
        from compile.report import show, to_json
        from compile.runner import find_runner
        from zoo.cli.tables import wrapped

        runner = find_runner(self.runner)
        report: dict[str, Any] = {
            "conditions": conditions(),
            "tools": {name: shutil.which(name) for name in _TOOLS}
            | {"zoo-run": str(runner) if runner else None},
            "packages": {name: package_version(name) for name in _packages()},
            "backends": _backends(),
            "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        }
        if self.json:
            print(to_json(report), end="")
            return
        show(_machine_table(report))
        states = [f"{name}: {reason or 'ready'}" for name, reason in report["backends"].items()]
        show("", *wrapped(states))
        show("", "next: " + ("zoo train resnet18" if runner else "just runner"))


def _machine_table(report: dict[str, Any]) -> Any:
    from compile.report import table

    here = report["conditions"]
    packages = report["packages"].items()
    rows = [
        ("cpu", f"{here['cpu']}, {here['cores']} cores, {here['level']}"),
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


def _backends() -> dict[str, str | None]:
    """Backend -> what it lacks here, or None; it names precisions if only they lack it."""
    from compile.backends import BACKENDS, backend

    lacking: dict[str, str | None] = {}
    for name in BACKENDS:
        known = backend(name).PRECISIONS
        device = next(iter(known))
        lacks = {each: backend(name).missing(device, each) for each in known[device]}
        missing = {each: reason for each, reason in lacks.items() if reason}
        if len(missing) == len(lacks):
            lacking[name] = next(iter(missing.values()))
        else:
            lacking[name] = "; ".join(f"{each}: {why}" for each, why in missing.items()) or None
    return lacking
