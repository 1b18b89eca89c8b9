"""What to run where something is missing: it must exist for whoever reads it.

zoo is not published on a package index. It runs from a checkout, where `./setup` has recipes, or
from a wheel that was built from one, where there are none. So advice names other people's packages,
and a recipe only in a checkout.
"""

from __future__ import annotations

from pathlib import Path

from compile.machine import package_version

_ROOT = Path(__file__).resolve().parent.parent


class Missing(str):
    """Why this machine cannot do something, in one line, and the one command that repairs it."""

    command: str | None
    """None if no command can, as without a GPU."""

    def __new__(cls, reason: str, command: str | None = None) -> Missing:
        """`reason` is the whole line; it may hold the command too."""
        made = super().__new__(cls, reason)
        made.command = command
        return made


def in_checkout() -> bool:
    """Whether this package lies in a checkout of zoo, with the source of zoo-run and `./setup`."""
    return (_ROOT / "runtime_cpp" / "CMakeLists.txt").is_file() and (_ROOT / "setup").is_file()


def how_to_build_runner() -> str:
    """What builds zoo-run, as the end of a sentence."""
    if in_checkout():
        return "run `./setup runner`"
    return "in a checkout of zoo run `./setup runner`, and put build/runtime/zoo-run on PATH"


def no_runner(what: str) -> str:
    """The line that refuses something because there is no zoo-run."""
    return f"{what} needs zoo-run, which is not here; {how_to_build_runner()}"


def pip_install(*packages: str, replace: bool = False) -> str:
    """The command that adds packages of a public index; `replace` those that are there, too."""
    words = [_bounded(name) for name in packages]
    return " ".join(["pip install", *(["--force-reinstall"] if replace else []), *words])


def _bounded(name: str) -> str:
    """A package with the version that fits this torch, if it must fit."""
    torch = package_version("torch")
    if torch is None or name not in ("torch", "torch-tensorrt"):
        return name
    return f"torch=={torch}" if name == "torch" else f"{name}=={torch.rpartition('.')[0]}.*"
