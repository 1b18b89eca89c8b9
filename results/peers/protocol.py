"""A process that takes turns: one of `zoo-run --turns` or of results.peers.worker.

Each starts anew in every round. A turn is a line with the calls to be thrown away and the time
of the ones that count; the answer has the time of each call.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from compile.measure.stats import percentile

SWITCH_NS = 5_000_000
"""Calls of so long are thrown away when a program's turn begins, and one call at least."""
MOST_THROWN_AWAY = 1000
LIMIT_S = 600.0
"""A process that says nothing for so long is ended."""


class Broken(Exception):
    """The process ended, or said something else; the message is the reason in the table."""


class Turns:
    """A process that makes calls when it is its turn."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start it; raises Broken if it ends before it is ready."""
        self._errors = tempfile.TemporaryFile(mode="w+")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **environment},
        )
        try:
            self.call_ns = int(self._receive()["call_ns"])
        except Broken:
            self.close()
            raise

    def turn(self, seconds: float) -> list[int]:
        """The time of each call of one turn, in nanoseconds."""
        thrown_away = min(MOST_THROWN_AWAY, max(1, SWITCH_NS // max(1, self.call_ns)))
        self._send(f"{thrown_away} {int(seconds * 1e9)}")
        return list(self._receive()["samples_ns"])

    def end(self) -> dict[str, Any]:
        """End it; return what it says of itself."""
        try:
            self._send("end")
            return self._receive()
        finally:
            self.close()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise Broken(self._last_words()) from None

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watch = threading.Timer(LIMIT_S, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        try:
            return dict(json.loads(line))
        except ValueError:
            raise Broken(self._last_words()) from None

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        self._process.kill()
        code = self._process.wait()
        self._errors.seek(0)
        return last_line(self._errors.read(), code)


def last_line(errors: str, code: int) -> str:
    """What a process said at last; and how it ended, if a signal ended it or it said nothing."""
    said = (errors.strip().splitlines() or ["and said nothing"])[-1].strip()[:300]
    if not errors.strip():
        return f"its process ended with {code} {said}"
    return f"its process ended with {code}: {said}" if code < 0 else said


def median(samples: Sequence[int]) -> int:
    """The middle one, of samples in any order."""
    return percentile(sorted(samples), 50)
