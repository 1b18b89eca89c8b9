"""The `zoo` command. A command is an adapter: options -> one library call -> a report.

Importing this package is cheap: torch is imported inside the commands, so that `zoo --help`, a
mistyped flag or a backend that is not here answer at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from compile.errors import first_line, printable
from zoo import __version__
from zoo.cli.bench import Bench
from zoo.cli.bisect import Bisect
from zoo.cli.check import Check
from zoo.cli.clean import Clean
from zoo.cli.command import SETTINGS, Command, Interrupted, callback, usage_fault
from zoo.cli.compare import Compare
from zoo.cli.compile import Compile
from zoo.cli.doctor import Doctor
from zoo.cli.eval import Eval
from zoo.cli.export import Export
from zoo.cli.import_ import Import
from zoo.cli.inspect import Inspect
from zoo.cli.list_ import List
from zoo.cli.predict import Predict
from zoo.cli.recompile import Recompile
from zoo.cli.report import Report
from zoo.cli.study import Study
from zoo.cli.train import Train
from zoo.errors import ZooError

COMMANDS: dict[str, type[Command]] = {
    "list": List,
    "train": Train,
    "eval": Eval,
    "predict": Predict,
    "compile": Compile,
    "recompile": Recompile,
    "check": Check,
    "bench": Bench,
    "compare": Compare,
    "report": Report,
    "inspect": Inspect,
    "bisect": Bisect,
    "import": Import,
    "export": Export,
    "study": Study,
    "doctor": Doctor,
    "clean": Clean,
}
"""By name, in the order of `zoo --help`. To add a command: one file in this folder, one row here.
"""

app = typer.Typer(
    name="zoo",
    help="Train a ResNet, compile it for every backend, prove the results, measure them from C++.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    **SETTINGS,
)
for _name, _command in COMMANDS.items():
    app.command(_name)(callback(_command, lambda options: options.run()))


def _print_version(wanted: bool) -> None:
    if wanted:
        from compile.machine import commit, package_version

        print(f"zoo {__version__} (torch {package_version('torch')}, commit {commit() or 'none'})")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print versions and exit."
        ),
    ] = False,
) -> None:
    del version
    if context.invoked_subcommand is None:
        print(context.get_help())


_NO_FILE = (errno.ENAMETOOLONG, errno.ENXIO, errno.ELOOP)
"""What the system says of names that no file can have, of sockets, and of links in a circle."""

_PIPE_CLOSED = 128 + signal.SIGPIPE
"""What a shell says of a tool that wrote into a pipe that nobody reads: `zoo list | head -1`."""


_RAISED = "the code of a network raised KeyboardInterrupt, as no signal did"


class _Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, for all code that catches KeyboardInterrupt.

    It is a class of its own: if KeyboardInterrupt itself passes through an `exec` of text, as
    dataclasses do when they are imported, Python remembers it and ends `python -m zoo` by SIGINT,
    whatever `sys.exit` was told.
    """


_received: list[int] = []
"""Signals that ended the command; the command line library hides them behind its own exits."""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """SIGTERM cleans up as Ctrl-C does; a second signal must not stop the cleaning."""
    _received.append(signum)
    if len(_received) == 1:
        raise _Stopped


def main() -> None:
    """Run the command line; every error is one line on stderr and an exit code."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    left = ""
    try:
        code = _run(sys.argv[1:])
    except (Interrupted, KeyboardInterrupt) as stop:
        code, left = 130, str(stop)
        if not _received:
            code = _fail(f"{_RAISED}; let it raise an Exception that says why", 1)
    if _received:
        name = signal.Signals(_received[0]).name
        left = left or "what was half-made is removed"
        code = _fail(f"stopped by {name}; {left}", 128 + _received[0])
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process. What stdout still holds is dropped where nobody reads it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """The exit code of one command line; its error, if any, is on stderr."""
    try:
        try:
            code = app(arguments, standalone_mode=False)
        except typer.Exit as stop:
            code = stop.exit_code
        sys.stdout.flush()
    except typer.Abort:
        return 130
    except ZooError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        return _PIPE_CLOSED
    except SystemExit as stop:  # by which the command line library answers a broken pipe
        if isinstance(stop.__context__, BrokenPipeError):
            return _PIPE_CLOSED
        raise
    except OSError as error:
        if error.errno in _NO_FILE:
            return _fail(f"{error.filename}: {error.strerror}; name a regular file", 3)
        return _fail(f"{error}; check disk and permissions", 4)
    except Exception as error:
        return _unexpected(error)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception) -> int:
    """Memory that ran out, a mistyped command, or a fault of zoo itself."""
    full = ("allocate memory", "out of memory")  # of the machine, of a GPU
    if isinstance(error, MemoryError) or any(words in str(error) for words in full):
        smaller = "use a smaller --batch or --input; in training, use --set accumulate=N"
        return _fail(f"out of memory; {smaller}", 4)
    fault = usage_fault(error)
    if fault is not None:
        return _fail(f"{fault or 'which command?'} Run `zoo --help`.", 2)
    if os.environ.get("ZOO_TRACEBACK"):
        raise error
    hint = "set ZOO_TRACEBACK=1 for the traceback, and please report it"
    return _fail(f"unexpected {type(error).__name__}: {first_line(error)}; {hint}", 1)


def _fail(line: str, code: int) -> int:
    print(f"zoo: {printable(' '.join(line.split()))}", file=sys.stderr)
    return code
