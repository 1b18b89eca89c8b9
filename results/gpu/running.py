"""Runs the steps of a stage as child processes, each with a time limit that nothing outlives."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from compile.errors import printable

ROOT = Path(__file__).resolve().parents[2]
_MARK = "ZOO_GPU_STEP"
"""In the environment of a step and of all that it starts: by it they are found and ended."""
_BULKY = ("samples_ns",)
"""Fields of reports that are left out of a result."""
_LONGEST = 500
"""Characters of a message that are kept."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command."""

    name: str
    command: tuple[str, ...]
    seconds: float = 600.0
    """Its own limit. The stage may be over sooner."""


@dataclass(kw_only=True)
class Ran:
    """What became of a step."""

    name: str
    command: list[str]
    seconds: float = 0.0
    code: int | None = None
    """The exit code, negative for a signal; None if it was not started or was ended."""
    reason: str | None = None
    """Why it failed, in one line; None if it did not."""
    said: list[Any] = field(default_factory=list)
    """The JSON documents that it printed."""


def run_all(steps: Sequence[Step], until: float, at_once: int, env: Mapping[str, str]) -> list[Ran]:
    """Run the steps in their order, `at_once` at a time; none after `until` (time.monotonic).

    `env` is added to the environment of each.
    """
    mark = secrets.token_hex(8)
    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(lambda step: run(step, until, env, mark), steps))
    except BaseException:  # interrupted
        pool.shutdown(wait=False, cancel_futures=True)
        end(mark)
        raise
    finally:
        pool.shutdown()


def run(step: Step, until: float, env: Mapping[str, str], mark: str) -> Ran:
    """Run one step in the checkout's folder. What it started ends with it, and has a `mark`."""
    ran = Ran(name=step.name, command=list(step.command))
    limit = min(step.seconds, until - time.monotonic())
    if limit <= 0:
        ran.reason = "not started: the time of the stage was over"
        return ran
    mark = f"{mark}-{secrets.token_hex(4)}"
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                step.command,
                cwd=ROOT,
                env={**os.environ, **env, _MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            ran.reason = f"{step.command[0]} cannot be started: {error.strerror}"
            return ran
        try:
            ran.code = process.wait(limit)
        except subprocess.TimeoutExpired:
            ran.reason = f"ended: {limit:.0f} s were over"
        finally:
            end(mark)
            process.wait()
        printed, complaints = _text(out), _text(err)
    ran.seconds = round(time.monotonic() - started, 1)
    ran.said = documents(printed)
    if ran.code:
        ran.reason = last_line(complaints, printed, ran.code)
    return ran


def end(mark: str) -> None:
    """Kill every process whose mark begins so: a step's own, and whatever it started."""
    wanted = f"{_MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            if any(each.startswith(wanted) for each in variables):
                os.kill(int(folder.name), signal.SIGKILL)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def documents(text: str) -> list[Any]:
    """The JSON documents in a program's stdout: all of it as one, or each line that is one."""
    with suppress(ValueError):
        return [lean(json.loads(text))]
    found = []
    for line in text.splitlines():
        if line.startswith(("{", "[")):
            with suppress(ValueError):
                found.append(lean(json.loads(line)))
    return found


def lean(value: Any) -> Any:
    """A document without the raw samples, which would fill the file."""
    if isinstance(value, dict):
        return {name: lean(each) for name, each in value.items() if name not in _BULKY}
    return [lean(each) for each in value] if isinstance(value, list) else value


def last_line(err: str, out: str, code: int) -> str:
    """What a program that failed said last, or its first error if it is a compiler's."""
    lines = [line.strip() for line in (err or out).splitlines() if line.strip()]
    first = next((line for line in lines if "error:" in line or "CMake Error" in line), None)
    said = first or (lines[-1] if lines else "it said nothing")
    return f"exit code {code}: {printable(said)[:_LONGEST]}"
