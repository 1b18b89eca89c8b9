"""Rows in processes of their own: a crash, a hang or a lack of memory becomes a row's finding.

One process does the rows that have most of their work in common, and sends each as it ends. If it
breaks, the row that was running is noted as broken, and a new process does those that are left.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections import deque
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

Life = Callable[[list[Job], int, float, Connection], None]
"""What a process does: jobs, threads and limit of a row in seconds; it sends each row as JSON."""


@dataclass(kw_only=True)
class _Started:
    """A process, and what it has still to do."""

    jobs: list[Job]
    """The first one is running."""
    process: BaseProcess
    ended: float
    """When the running row must have ended (time.monotonic)."""


class Running:
    """Starts processes, and reads what they found."""

    def __init__(self, *, threads: int, limit: float, life: Life | None = None) -> None:
        """`threads` for each process; `limit` is a row's time in seconds; `life` is for tests."""
        self.threads = threads
        self.limit = limit
        self.life = life or _life
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._context = multiprocessing.get_context("forkserver")
        if life is None:
            self._context.set_forkserver_preload(_PRELOADED)

    def rows(
        self, groups: list[list[Job]], until: float, at_once: int = 1
    ) -> Generator[dict[str, Any], None, None]:
        """The rows of all jobs as they end, a process for each group.

        No row is started after `until` (time.monotonic).
        """
        started: dict[Connection, _Started] = {}
        try:
            yield from self._rows(deque(groups), until, at_once, started)
        finally:  # interrupted: what still runs has found nothing
            for connection, each in started.items():
                self._end(connection, each)

    def _rows(
        self,
        waiting: deque[list[Job]],
        until: float,
        at_once: int,
        started: dict[Connection, _Started],
    ) -> Iterator[dict[str, Any]]:
        while True:
            while waiting and len(started) < at_once and time.monotonic() < until:
                connection, each = self._start(waiting.popleft())
                started[connection] = each
            if not started:
                return
            left = min(each.ended for each in started.values()) - time.monotonic()
            ready = wait([*started], timeout=max(0.0, left))
            for connection, each in [*started.items()]:
                if connection not in ready and time.monotonic() < each.ended:
                    continue
                row = self._read(connection, each)
                job, left = each.jobs.pop(0), each.ended - time.monotonic()
                each.ended = time.monotonic() + self.limit
                if row is None or not each.jobs or time.monotonic() >= until:
                    self._end(connection, started.pop(connection))
                    if each.jobs:
                        waiting.appendleft(each.jobs)
                yield row or self._broken(job, each.process.exitcode, left)

    def _start(self, jobs: list[Job]) -> tuple[Connection, _Started]:
        ours, theirs = self._context.Pipe(duplex=False)
        given = self.life, jobs, self.threads, self.limit, theirs
        process = self._context.Process(target=_begin, args=given)
        process.start()
        theirs.close()
        with suppress(EOFError):
            if ours.poll(_IMPORTS):
                ours.recv_bytes()  # what it needs is imported, and its time begins
        ended = time.monotonic() + self.limit
        return ours, _Started(jobs=[*jobs], process=process, ended=ended)

    def _read(self, connection: Connection, each: _Started) -> dict[str, Any] | None:
        """The row that was sent, if one was."""
        try:
            return json.loads(connection.recv_bytes()) if connection.poll() else None
        except EOFError:  # it is about to end by itself
            each.process.join(5.0)
            return None

    def _end(self, connection: Connection, each: _Started) -> None:
        """End the process and what it started."""
        assert each.process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.kill()  # it may not have had a group of its own yet
        each.process.join()
        connection.close()

    def _broken(self, job: Job, code: int | None, left: float) -> dict[str, Any]:
        """The row of a job whose process sent none, with so many seconds left."""
        late = left <= 0
        reason = f"no end after {self.limit:.0f} s" if late else f"the process ended with {code}"
        found = {"built": "error", "failures": [reason], "raised": None, "stage": None}
        return {**asdict(job), **found, "seconds": round(self.limit - left, 1)}


def _begin(life: Life, jobs: list[Job], threads: int, limit: float, connection: Connection) -> None:
    os.setsid()  # a compiler's own processes end with it
    connection.send_bytes(b"")
    life(jobs, threads, limit, connection)


def _life(jobs: list[Job], threads: int, limit: float, connection: Connection) -> None:
    """The whole life of a process."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # it ends before others do
    from results.corpus.row import Bench

    bench = Bench(threads=threads)
    for job in jobs:
        signal.alarm(round(limit) + 10)  # it ends by itself where nobody is left to end it
        connection.send_bytes(json.dumps(bench.run(job)).encode())
