"""Rows as processes: a crash, a hang or a lack of memory ends one row and becomes its finding."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from results.corpus.jobs import Job

_PRELOADED = ["results.corpus.preloaded"]
"""What the process that all rows are forked from has imported; it computes nothing itself."""

_IMPORTS = 600.0
"""Seconds that a process may take until it begins."""

Life = Callable[[Job, int, float, Connection], None]
"""What a row's process does: job, threads and limit in seconds; it sends the row as JSON."""


@dataclass(frozen=True, kw_only=True)
class _Started:
    job: Job
    process: BaseProcess
    ended: float


class Running:
    """Starts processes, and reads what they found."""

    def __init__(self, *, threads: int, limit: float, life: Life | None = None) -> None:
        """`threads` for each process, which may run for `limit` seconds; `life` is for tests."""
        self.threads = threads
        self.limit = limit
        self.life = life or _row
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._context = multiprocessing.get_context("forkserver")
        if life is None:
            self._context.set_forkserver_preload(_PRELOADED)

    def rows(
        self, jobs: list[Job], until: float, at_once: int = 1
    ) -> Generator[dict[str, Any], None, None]:
        """The rows of `jobs` as they end; none is started after `until` (time.monotonic)."""
        waiting = iter(jobs)
        started: dict[Connection, _Started] = {}
        try:
            yield from self._rows(waiting, until, at_once, started)
        finally:  # interrupted: what still runs has found nothing
            for connection, each in started.items():
                self._finish(connection, each)

    def _rows(
        self,
        waiting: Iterator[Job],
        until: float,
        at_once: int,
        started: dict[Connection, _Started],
    ) -> Iterator[dict[str, Any]]:
        while True:
            while len(started) < at_once and time.monotonic() < until:
                job = next(waiting, None)
                if job is None:
                    break
                connection, process = self._start(job)
                ended = time.monotonic() + self.limit
                started[connection] = _Started(job=job, process=process, ended=ended)
            if not started:
                return
            left = min(each.ended for each in started.values()) - time.monotonic()
            ready = wait([*started], timeout=max(0.0, left))
            for connection, each in [*started.items()]:
                if connection in ready or time.monotonic() >= each.ended:
                    yield self._finish(connection, started.pop(connection))

    def _start(self, job: Job) -> tuple[Connection, BaseProcess]:
        ours, theirs = self._context.Pipe(duplex=False)
        given = self.life, job, self.threads, self.limit, theirs
        process = self._context.Process(target=_begin, args=given)
        process.start()
        theirs.close()
        with suppress(EOFError):
            if ours.poll(_IMPORTS):
                ours.recv_bytes()  # what it needs is imported, and its time begins
        return ours, process

    def _finish(self, connection: Connection, each: _Started) -> dict[str, Any]:
        """The row that was sent, or why none was."""
        try:
            row = json.loads(connection.recv_bytes()) if connection.poll() else None
        except EOFError:  # it is about to end by itself
            row = None
            each.process.join(5.0)
        late = row is None and time.monotonic() >= each.ended
        assert each.process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.kill()  # it may not have had a group of its own yet
        each.process.join()
        connection.close()
        if row is not None:
            return row
        code = each.process.exitcode
        reason = f"no end after {self.limit:.0f} s" if late else f"the process ended with {code}"
        seconds = round(time.monotonic() - each.ended + self.limit, 1)
        found = {"built": "error", "failures": [reason], "raised": None, "stage": None}
        return {**asdict(each.job), **found, "seconds": seconds}


def _begin(life: Life, job: Job, threads: int, limit: float, connection: Connection) -> None:
    os.setsid()  # a compiler's own processes end with it
    connection.send_bytes(b"")
    life(job, threads, limit, connection)


def _row(job: Job, threads: int, limit: float, connection: Connection) -> None:
    """The whole life of a row's process."""
    signal.alarm(round(limit) + 10)  # it ends by itself where nobody is left to end it
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # it ends before others do
    from results.corpus.row import run

    connection.send_bytes(json.dumps(run(job, threads)).encode())
