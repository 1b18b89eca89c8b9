"""The report of a corpus run: what passed, what was refused and why, how often that was wrong."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compile.proof.accuracy import wilson
from results.corpus.jobs import WAYS, cpu_backends, key_of, networks
from results.corpus.judging import (
    BROKE,
    FALSE_ACCEPT,
    FALSE_REFUSAL,
    NOT_BUILT,
    RIGHT,
    TOO_COARSE,
    Row,
    counted,
    judged,
    same_fault,
    truth,
)
from results.corpus.row import ratio

WIDTH = 120
EXPLAINED = Path(__file__).with_name("explained.json")
"""Key of a row -> why it was refused or broke, in a sentence that a person wrote."""
TITLES = {
    "a": "Networks with a truth",
    "b": "timm",
    "c": "The zoo's own",
    "d": "Random networks",
}
_SHARED = ("part", "precision", "seed")
_WORDS = {
    FALSE_ACCEPT: "**passed**",
    FALSE_REFUSAL: "**refused**",
    NOT_BUILT: "not built",
    TOO_COARSE: "too coarse",
    BROKE: "**broke**",
}


def report(rows: list[Row], conditions: dict[str, Any]) -> str:
    """The whole file, in Markdown. `conditions` are those of the sources as they are."""
    rows = sorted(rows, key=lambda row: (row["part"], row["precision"]))
    run = [row for row in rows if row["backend"] != WAYS]
    lines = [
        "# The proof against networks that it was not made for",
        "",
        *_wrapped(
            f"`just corpus`: {conditions['cpu']}, torch {conditions['torch']}, "
            f"{_commits(run)}{_older(run, conditions['commit'])}."
        ),
        "",
        *rates(run),
        *shares(run),
        *_tables(run),
        *_reasons(run),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _commits(rows: list[Row]) -> str:
    """`part a: 9 rows of commit 1; part b: 5 rows of commit 2, 3 of 1`."""
    parts: dict[str, Counter[str]] = {}
    for row in rows:
        parts.setdefault(row["part"], Counter())[row["commit"]] += 1
    words = []
    for part, counts in sorted(parts.items()):
        (first, most), *others = counts.most_common()
        others_too = "".join(f", {count} of {commit}" for commit, count in others)
        words.append(f"part {part}: {most} rows of commit {first}{others_too}")
    return "; ".join(words)


def _older(rows: list[Row], now: str) -> str:
    """Words for sources that have changed since the rows were run; nothing if they have not."""
    if {row["commit"] for row in rows} <= {now}:
        return ""
    return f"; the sources are at {now} now"


def rates(rows: list[Row]) -> Iterator[str]:
    """How often a wrong network passed and a sound one was refused, by part and overall."""
    first = "| part | wrong networks that passed | sound networks refused "
    yield first + "| too coarse | not built | broke |"
    yield "|---|---|---|---:|---:|---:|"
    for part, precision in sorted({(row["part"], row["precision"]) for row in rows}):
        own = [row for row in rows if (row["part"], row["precision"]) == (part, precision)]
        yield _rate(f"{part}: {TITLES[part]}, {precision}", own)
    for precision in sorted({row["precision"] for row in rows}):
        yield _rate(f"all, {precision}", [row for row in rows if row["precision"] == precision])
    yield ""
    yield from _wrapped(
        "Each network counts once for each backend that it was built by. In brackets: Wilson's "
        "95 % interval, in per cent. A refused network counts as sound unless its graph in double "
        "was found wrong. Too coarse: int8 itself costs more than is allowed whatever the backend, "
        "or leaves no class clear. Not built: the backend said that it cannot build it."
    )
    yield ""


def _rate(title: str, rows: list[Row]) -> str:
    counts = counted(rows)
    wrong = sum(number for (kind, _), number in counts.items() if kind == "refuse")
    sound = sum(counts["sound", said] for said in (RIGHT, FALSE_REFUSAL))
    cells = (
        title,
        share(counts["refuse", FALSE_ACCEPT], wrong),
        share(counts["sound", FALSE_REFUSAL], sound),
        *(
            sum(number for (_, said), number in counts.items() if said == word)
            for word in (TOO_COARSE, NOT_BUILT, BROKE)
        ),
    )
    return f"| {' | '.join(map(str, cells))} |"


def shares(rows: list[Row]) -> Iterator[str]:
    """How many networks of each part were run, for each precision, seed and backend."""
    backends = [name for name in cpu_backends() if any(row["backend"] == name for row in rows)]
    yield from ("## What was run", "")
    yield f"| part | precision | seed | {' | '.join(backends)} |"
    yield "|---|---|---:" + "|---:" * len(backends) + "|"
    for part, precision, seed in sorted({tuple(map(row.get, _SHARED)) for row in rows}):
        of = len(networks(part, seed))
        count = Counter(
            row["backend"]
            for row in rows
            if tuple(map(row.get, _SHARED)) == (part, precision, seed)
        )
        cells = [f"{count[name]} of {of}" if count[name] else "-" for name in backends]
        yield f"| {part}: {TITLES[part]} | {precision} | {seed} | {' | '.join(cells)} |"
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
    """Why each network was not passed, by which backends, and who is right."""
    said: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        if row["built"] != "passed":
            about = (row["network"], row["precision"], judged(row), _why(row))
            said.setdefault(about, []).append(row["backend"])
    if said:
        yield from ("## Why", "")
    for (network, precision, judgement, why), backends in said.items():
        where = f"{network}, {precision}, {' and '.join(backends)}"
        yield from _wrapped(f"- {where} ({judgement}): {why}", "  ")


def _why(row: Row) -> str:
    """What the proof said, which of the two is right, and what a person found out."""
    failed = "; ".join(row["failures"]).replace("\n", " ")[:400]
    truth = f" Truth: {row['truth']}." if "truth" in row else ""
    if fault := same_fault(row):
        truth += f" The backend is wrong; {fault} shows the same fault by itself."
    explained = json.loads(EXPLAINED.read_text()).get(" ".join(key_of(row)))
    return f"{failed}.{truth}" + (f" Explained: {explained}" if explained else "")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
