"""The `zoo` command. Commands are adapters: options -> one library call -> a report.

Importing this package is cheap: torch is imported inside the commands, so that `zoo --help`, a
mistyped flag or a backend that is not here answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from compile.errors import first_line
from zoo import __version__
from zoo.cli import artifacts, bisecting, exchange, listing, machine, studying, training
from zoo.cli.options import GO_ON
from zoo.errors import ZooError

app = typer.Typer(
    name="zoo",
    help="Train a ResNet, compile it for every backend, prove they agree, measure them from C++.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (listing, training, artifacts, bisecting, exchange, studying, machine):
    for name, command in commands.COMMANDS.items():
        app.command(name)(command)


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


class _Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, for all code that catches KeyboardInterrupt.

    Not that very class: where it passes through an `exec` of text, as dataclasses do when they are
    imported, Python remembers it and ends `python -m zoo` by SIGINT, whatever `sys.exit` was told.
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
    code = _run(sys.argv[1:])
    if _received:
        name = signal.Signals(_received[0]).name
        end = GO_ON[-1] if GO_ON else "what was half-made is removed"
        code = _fail(f"stopped by {name}; {end}", 128 + _received[0])
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except typer.Exit as stop:
        return stop.exit_code
    except ZooError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error}; check disk and permissions", 4)
    except Exception as error:
        full = ("allocate memory", "out of memory")  # of the machine, of a GPU
        if isinstance(error, MemoryError) or any(words in str(error) for words in full):
            smaller = "use a smaller --batch or --input, in training --set accumulate=N"
            return _fail(f"out of memory; {smaller}", 4)
        usage = getattr(error, "format_message", None)
        if usage is None:
            if os.environ.get("ZOO_TRACEBACK"):
                raise
            line = first_line(error)
            hint = "set ZOO_TRACEBACK=1 for the traceback, and please report it"
            return _fail(f"unexpected {type(error).__name__}: {line}; {hint}", 1)
        line = " ".join(usage().split())
        return _fail(f"{line or 'which command?'} Run `zoo --help`.", 2)
    return code if isinstance(code, int) else 0


def _fail(line: str, code: int) -> int:
    print(f"zoo: {' '.join(line.split())}", file=sys.stderr)
    return code
