"""The report of a corpus run: what passed, what was refused and why, how often that was wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from compile.proof.accuracy import wilson
from results.corpus.jobs import PARTS, WAYS, cpu_backends
from results.corpus.judging import (
    BROKE,
    FALSE_ACCEPT,
    FALSE_REFUSAL,
    NOT_BUILT,
    RIGHT,
    Row,
    counted,
    judged,
    truth,
)
from results.corpus.row import ratio

WIDTH = 120
TITLES = {
    "a": "Networks with a truth",
    "b": "timm",
    "c": "The zoo's own",
    "d": "Random networks",
}
_WORDS = {
    FALSE_ACCEPT: "**passed**",
    FALSE_REFUSAL: "**refused**",
    NOT_BUILT: "not built",
    BROKE: "**broke**",
}


def report(rows: list[Row], done: int, asked: int, conditions: dict[str, Any]) -> str:
    """The whole file, in Markdown; of the rows that were `asked` for, `done` have been run."""
    rows = sorted(rows, key=lambda row: (row["part"], row["precision"]))
    run = [row for row in rows if row["backend"] != WAYS]
    lines = [
        "# The proof against networks that it was not made for",
        "",
        *_wrapped(
            f"`just corpus`: {conditions['cpu']}, torch {conditions['torch']}, commit "
            f"{conditions['commit']}. {done} of {asked} rows were run "
            f"({100 * done / max(1, asked):.0f} %); the others are not in this report."
        ),
        "",
        *rates(run),
        *_tables(run),
        *_reasons(run),
    ]
    return "\n".join(lines).rstrip() + "\n"


def rates(rows: list[Row]) -> Iterator[str]:
    """How often a wrong network passed and a sound one was refused, by part and overall."""
    yield "| part | wrong networks that passed | sound networks refused | not built | broke |"
    yield "|---|---|---|---:|---:|"
    for part in (*PARTS, None):
        own = [row for row in rows if part in (None, row["part"])]
        if not own:
            continue
        counts = counted(own)
        wrong = sum(number for (kind, _), number in counts.items() if kind == "refuse")
        sound = sum(
            number
            for (kind, said), number in counts.items()
            if kind == "sound" and said in (RIGHT, FALSE_REFUSAL)
        )
        cells = (
            f"{part}: {TITLES[part]}" if part else "all",
            share(counts["refuse", FALSE_ACCEPT], wrong),
            share(counts["sound", FALSE_REFUSAL], sound),
            sum(number for (_, said), number in counts.items() if said == NOT_BUILT),
            sum(number for (_, said), number in counts.items() if said == BROKE),
        )
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    yield from _wrapped(
        "In brackets: Wilson's 95 % interval, in per cent. A refused network counts as sound "
        "unless its graph in double was found wrong. Not built: the backend said that it cannot "
        "build it."
    )
    yield ""


def share(number: int, of: int) -> str:
    """`3 of 40 (2.6 to 19.9)`."""
    if not of:
        return "-"
    low, high = wilson(number, of)
    return f"{number} of {of} ({100 * low:.1f} to {100 * high:.1f})"


def _tables(rows: list[Row]) -> Iterator[str]:
    """A table of networks and backends for each part and precision."""
    for part, precision in sorted({(row["part"], row["precision"]) for row in rows}):
        own = [row for row in rows if (row["part"], row["precision"]) == (part, precision)]
        backends = [name for name in cpu_backends() if any(r["backend"] == name for r in own)]
        cells = {(row["network"], row["seed"], row["backend"]): _cell(row) for row in own}
        yield from (f"## {TITLES[part]}, {precision}", "")
        yield f"| network | {'truth | ' if part == 'a' else ''}{' | '.join(backends)} |"
        yield "|---" * (1 + (part == "a")) + "|---:" * len(backends) + "|"
        for name, seed in dict.fromkeys((row["network"], row["seed"]) for row in own):
            kind = truth(next(row for row in own if row["network"] == name))
            found = [cells.get((name, seed, each), "") for each in backends]
            words = [name + (f" {seed}" if seed else ""), *([kind] if part == "a" else []), *found]
            yield f"| {' | '.join(words)} |"
        yield ""
    yield from _wrapped(
        "A number is the largest error over its bound; at most 1 passes. In bold: a wrong network "
        "that passed, a sound one that was refused, or a row that broke."
    )
    yield ""


def _cell(row: Row) -> str:
    said = judged(row)
    if said == RIGHT and row["built"] != "passed":
        return "refused"
    if said not in (RIGHT, FALSE_REFUSAL) or "rmse" not in row:
        return _WORDS[said]
    largest = f"{max(map(ratio, row['rmse'], row['bound']), default=0.0):.2g}"
    return largest if said == RIGHT else f"**{largest}**"


def _reasons(rows: list[Row]) -> Iterator[str]:
    """Why each row was not passed, and who is right."""
    lines = [line for row in rows if row["built"] != "passed" for line in _reason(row)]
    if lines:
        yield from ("## Why", "", *lines)


def _reason(row: Row) -> Iterable[str]:
    why = "; ".join(row["failures"]).replace("\n", " ")
    where = f"{row['network']}, {row['backend']} {row['precision']}"
    said = f" Truth: {row['truth']}." if "truth" in row else ""
    return _wrapped(f"- {where} ({judged(row)}): {why[:400]}.{said}", "  ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
