"""A build in a process of its own, so that it can be ended whatever it hangs in.

A compiler that spins inside a library hears no signal that Python could turn into an exception;
its process group can be killed. What it left is a staging folder, which nothing takes for an
artifact and the next build removes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from compile.artifact.publishing import stale_stagings
from compile.errors import CheckFailed, NotBuildable, by_code

REFUSED = "nothing can be built here: "
"""How a command starts to say that it refused every cell."""


def build_apart(arguments: Sequence[str], out: Path, timeout: float) -> dict[str, Any]:
    """Run `zoo compile ARGUMENTS --json` and return the one cell that it reports.

    Raises CheckFailed when it takes longer than `timeout` seconds, and what the other process
    reported when it failed.
    """
    command = [sys.executable, "-m", "zoo", "compile", *arguments, "--out", str(out), "--json"]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CheckFailed(
            f"still building after {timeout:g} s and ended; give it more with --timeout"
        ) from None
    finally:
        _end(child, out)
    if child.returncode != 0:
        lines = errors.strip().splitlines() or [f"it ended with {child.returncode}"]
        _, refused, reason = lines[-1].partition(REFUSED)
        if refused:
            raise NotBuildable(reason)
        raise by_code(child.returncode)(lines[-1].removeprefix("zoo: "))
    cell: dict[str, Any] = json.loads(output)["cells"][0]
    return cell


def _end(child: subprocess.Popen[str], out: Path) -> None:
    """Kill what still runs, with the compilers it started, and sweep up after it."""
    if child.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    for left in stale_stagings(out):
        shutil.rmtree(left, ignore_errors=True)
