"""`just corpus`: compile networks that nobody here wrote, and count what is refused and accepted.

Rows of the same commit that stand in the newest file of this CPU are not run again, so a run of
hours goes on where it stopped. Each row is a process of its own. A crash, a hang and a lack of
memory are rows too.
"""

from __future__ import annotations

import argparse
import sys
import time

from results.corpus.jobs import PARTS, all_jobs
from results.corpus.running import Running
from results.corpus.table import Table


def main() -> None:
    """Run rows until the minutes are over; say what share was run."""
    options = parsed()
    table = Table.newest()
    jobs = all_jobs(options.part, options.backend, options.precision, options.seed)
    if not options.report:
        run(table, jobs, options)
    done = sum(job.key in table.done for job in jobs)
    print(f"{table.path}: {done} of {len(jobs)} rows ({100 * done / max(1, len(jobs)):.0f} %)")


def run(table: Table, jobs: list, options: argparse.Namespace) -> None:  # type: ignore[type-arg]
    """Run what is not done yet."""
    until = time.monotonic() + 60 * options.minutes
    sound = {key for key, row in table.rows.items() if row["built"] in ("passed", "measured")}
    waiting = [job for job in jobs if job.key not in (sound if options.retry else table.done)]
    running = Running(threads=options.threads, limit=options.limit)
    for row in running.rows(waiting, until, options.jobs):
        table.append(row)
        print(
            row["part"],
            row["network"],
            row["backend"],
            row["precision"],
            row["built"],
            f"{row['seconds']} s",
            *row.get("failures", [])[:1],
            file=sys.stderr,
        )


def words(text: str) -> list[str]:
    """`a,b` as a list."""
    return [word for word in text.split(",") if word]


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="just corpus", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--part", type=words, default=list(PARTS))
    parser.add_argument("--backend", type=words, default=[])
    parser.add_argument("--precision", type=words, default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one row")
    parser.add_argument("--retry", action="store_true", help="also what was refused or broke")
    parser.add_argument("--report", action="store_true", help="write the report alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
