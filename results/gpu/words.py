"""Whether command lines mean something: they are read by the programs' own parsers and not run."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from results.gpu.running import ROOT


def fault(command: Sequence[str]) -> str | None:
    """What is wrong with a command line of the plan, in one line; None if nothing is."""
    program, *rest = command
    if Path(program).name == "zoo-run":
        return _flags(rest, "src/options.cpp", r'"(--[a-z-]+)[",]')
    if program == "cmake":
        named = [word.partition("=")[0] for word in rest if word.startswith("-DZOO_")]
        return _flags(named, "CMakeLists.txt", r"(?:set|option)\((ZOO_\w+)", prefix="-D")
    if "torch.distributed.run" in rest:
        return _torchrun(rest[rest.index("torch.distributed.run") + 1 :])
    return _module(rest[rest.index("-m") + 1 :])


def _flags(words: Sequence[str], source: str, pattern: str, prefix: str = "") -> str | None:
    """The first option that a source of runtime_cpp does not define."""
    known = {f"{prefix}{name}" for name in re.findall(pattern, _text(source))}
    unknown = [word for word in words if word.startswith(("--", "-D")) and word not in known]
    return f"{unknown[0]} is not in runtime_cpp/{source}" if unknown else None


@cache
def _text(source: str) -> str:
    return (ROOT / "runtime_cpp" / source).read_text()


def _torchrun(words: Sequence[str]) -> str | None:
    from torch.distributed.run import get_args_parser

    with _said() as said:
        try:
            given = get_args_parser().parse_args(list(words))
        except SystemExit:
            return said.getvalue().strip().splitlines()[-1]
    return _module([given.training_script, *given.training_script_args])


def _module(words: Sequence[str]) -> str | None:
    """What follows `python -m`."""
    name, *rest = words
    if name == "zoo":
        return _zoo(rest)
    parser = getattr(import_module(name), "parser", None)
    if parser is None:
        return f"{name} takes no words: {' '.join(rest)}" if rest else None
    with _said() as said:
        try:
            parser().parse_args(rest)
        except SystemExit:
            return said.getvalue().strip().splitlines()[-1]
    return None


def _zoo(words: Sequence[str]) -> str | None:
    from zoo.cli import COMMANDS
    from zoo.cli.command import parse
    from zoo.errors import UsageError

    try:
        parse(COMMANDS[words[0]], words[1:])
    except (UsageError, KeyError) as error:
        return f"zoo {words[0]}: {error}"
    return None


def _said() -> contextlib.AbstractContextManager[io.StringIO]:
    """What a parser says on stderr."""
    return contextlib.redirect_stderr(io.StringIO())
