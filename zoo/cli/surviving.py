"""A command goes on if one of its steps ends the process.

Compilers are C++ code inside this process. If one crashes, or is killed because memory ran out,
Python cannot catch it. So a child process does the work, and says which step it is at. If that
ends it, another child does the work without that step.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

import typer

from compile.children import end_with
from compile.errors import CheckFailed, Unavailable, ZooError

_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP")
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = "\x1b[?25h"
"""A line that ticks hides the cursor, and a crash would leave it hidden."""


@dataclass(kw_only=True)
class Steps:
    """The steps of a command, in the process that does them."""

    ended: dict[str, ZooError] = field(default_factory=dict)
    """Step -> what ended an earlier process in it."""
    pipe: int | None = None
    """Where this process says which step it is at; None if no other process waits for it."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do the step inside; raise what ended an earlier process in it, if anything did."""
        if name in self.ended:
            raise self.ended[name]
        self._say(name)
        try:
            yield
        finally:
            self._say("")

    def _say(self, name: str) -> None:
        if self.pipe is not None:
            os.write(self.pipe, f"{name}\n".encode())


def in_child() -> Steps:
    """Return in a child process, which does the work. This process waits, and ends as that one.

    A process that has imported torch, or has threads, cannot be copied safely. It does the work
    itself.
    """
    if "torch" in sys.modules or threading.active_count() > 1:
        return Steps()
    ended: dict[str, ZooError] = {}
    while True:
        sys.stdout.flush()
        parent = os.getpid()
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            end_with(parent)
            os.close(reads)
            return Steps(ended=ended, pipe=writes)
        os.close(writes)
        code = _wait(child)
        step = _last_line(reads)
        if code >= 0:
            raise typer.Exit(code)
        error = _what_ended(-code, step)
        if not step or step in ended:
            raise error
        ended[step] = error


def _wait(child: int) -> int:
    """Wait for it, and give it the signals that this process gets.

    Returns its exit code, or the number of the signal that ended it, negative.
    """

    def forward(signum: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, signum)

    before = {signum: signal.signal(signum, forward) for signum in _FORWARDED}
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _last_line(pipe: int) -> str:
    """The step that the child was at; nothing if it was between two."""
    os.set_blocking(pipe, False)  # a process that the child left behind may still hold its end
    lines = b""
    with suppress(BlockingIOError):
        while more := os.read(pipe, 65536):
            lines += more
    os.close(pipe)
    return lines.decode().rpartition("\n")[0].rpartition("\n")[2]


def _what_ended(signum: int, step: str) -> ZooError:
    """The error for a process that a signal ended."""
    if sys.stderr.isatty():
        print(_SHOW_CURSOR, end="", file=sys.stderr, flush=True)
    name = signal.Signals(signum).name
    doing = "the artifact was built" if step else "the network was prepared"
    if name in _CRASHES:
        remedy = (
            "try another backend or precision"
            if step
            else "call the model in plain PyTorch to see if it crashes"
        )
        return CheckFailed(f"the process crashed ({name}) while {doing}; {remedy}")
    return Unavailable(
        f"the process was ended by {name} while {doing}; if memory ran out, use a smaller "
        "--batch or --input"
    )
