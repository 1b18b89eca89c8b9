"""A build in a child process, so that it can be ended wherever it hangs.

A compiler that loops inside a library does not answer the signals that Python turns into
exceptions, but its process group can be killed. It leaves a staging folder behind, which nothing
takes for an artifact and the next build removes.
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


def build_in_child(words: Sequence[str], out: Path, timeout: float) -> dict[str, Any]:
    """Run `zoo compile WORDS`, which ask for one cell and --json, and return that cell.

    Raises CheckFailed when it takes longer than `timeout` seconds, NotBuildable when the child
    process refused the cell, and what the child process reported when it failed.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "zoo", "compile", *words],
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
    try:
        cell: dict[str, Any] = json.loads(output)["cells"][0]
    except ValueError:  # it ended before it had anything to report
        lines = errors.strip().splitlines() or [f"the build ended with {child.returncode}"]
        raise by_code(child.returncode)(lines[-1].removeprefix("zoo: ")) from None
    if cell["refused"] is not None:
        raise NotBuildable(cell["refused"])
    if cell["failed"] is not None:
        raise by_code(child.returncode)(cell["failed"])
    return cell


def _end(child: subprocess.Popen[str], out: Path) -> None:
    """Kill the child with the compilers it started, if it still runs, and remove what it left."""
    if child.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    for left in stale_stagings(out):
        shutil.rmtree(left, ignore_errors=True)
