"""What zoo bench --profile prints: a row for each operator that took long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compile.report import short, table
from zoo.cli.labels import broken
from zoo.cli.tables import counted, wrapped

_MOST = 15
"""Rows."""
_NAME_WIDTH = 44


def profile_table(report: dict[str, Any]) -> list[Any]:
    """The operators that took longest, then what else is to be known."""
    operators = report["operators"]
    rows = [
        (
            "\n".join(broken(each["operator"], _NAME_WIDTH)),
            f"{each['calls']:,}",
            short(each["total_ms"]),
            f"{100 * each['share']:.1f} %",
        )
        for each in operators[:_MOST]
    ]
    left = operators[_MOST:]
    here = report["conditions"]
    notes = [
        f"{Path(report['artifact']).name}: {counted([report['calls']], 'call')} of batch "
        f"{report['batch']} in Python; the time of an operator is without those that it calls",
        *(
            [f"not shown: {counted([len(left)], 'operator')} with {_share(left)} of the time"]
            if left
            else []
        ),
        f"{report['note']}",
        f"{here['cpu']}, {counted([here['threads']], 'thread')}, torch "
        f"{here['versions'].get('torch')}, {here['date']}",
    ]
    columns = ("operator", "calls", "total ms", "share of time")
    return [table(columns, rows, left=("operator",)), *wrapped(notes)]


def _share(operators: list[dict[str, Any]]) -> str:
    return f"{100 * sum(each['share'] for each in operators):.1f} %"
