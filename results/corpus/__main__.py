"""`just corpus`: compile networks that nobody here wrote, and count what is refused and accepted.

Rows of the same commit that stand in the newest file of this CPU are not run again, so a run of
hours resumes where it stopped. A crash, a hang and a lack of memory are rows too.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import closing

from results.corpus.jobs import PARTS, Job, all_jobs, together
from results.corpus.report import report
from results.corpus.running import Running
from results.corpus.table import Table


def main() -> None:
    """Run rows until the minutes are over, and write the report."""
    options = parsed()
    table = Table.newest()
    jobs = all_jobs(options.part, options.backend, options.precision, options.seed)
    jobs = [job for job in jobs if not options.network or job.network in options.network]
    try:
        if not options.report:
            run(table, jobs, options)
    finally:
        done = sum(job.key in table.rows for job in jobs)
        print(f"{done} of {len(jobs)} rows: {table.path}")
        shown = table.reported()
        made = report([*shown.rows.values()], shown.conditions)
        shown.path.with_suffix(".md").write_text(made)
        print(f"report: {shown.path.with_suffix('.md')}")


def run(table: Table, jobs: list[Job], options: argparse.Namespace) -> None:
    """Run what is not done yet, and with --retry what did not pass."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    good = ("passed", "measured") if options.retry else ("passed", "measured", "refused", "error")
    done = {key for key, row in table.rows.items() if row["built"] in good}
    waiting = together(job for job in jobs if job.key not in done)
    running = Running(threads=options.threads, limit=options.limit)
    until = time.monotonic() + 60 * options.minutes
    with closing(running.rows(waiting, until, options.jobs)) as rows:
        for row in rows:
            table.append(row)
            names = (row[name] for name in ("part", "network", "backend", "precision", "built"))
            print(*names, f"{row['seconds']} s", *row.get("failures", [])[:1], file=sys.stderr)


def words(text: str) -> list[str]:
    """`a,b` as a list."""
    return [word for word in text.split(",") if word]


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="just corpus", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--part", type=words, default=list(PARTS))
    parser.add_argument(
        "--backend", type=words, default=[], help="pytorch: the errors of PyTorch itself"
    )
    parser.add_argument("--precision", type=words, default=[])
    parser.add_argument("--network", type=words, default=[], help="these alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one row")
    parser.add_argument("--retry", action="store_true", help="also what was refused or broke")
    parser.add_argument("--report", action="store_true", help="write the report alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
