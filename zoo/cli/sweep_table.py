"""What zoo bench --sweep prints: a row for each setting, then which one is the best."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from compile.measure.settings import LARGEST, OFFLINE, Setting
from compile.report import short, table
from zoo.cli.tables import counted, wrapped


def sweep_table(report: dict[str, Any]) -> list[Any]:
    """A row for each setting, the highest throughput first; then notes and the best settings."""
    measured = sorted(report["settings"], key=lambda each: -each["report"]["throughput_per_s"])
    columns = ("batch", "threads", "streams", "p50 ms", "95 %", "images/s", "verdict")
    return [
        table(columns, map(_row, measured), left=("verdict",)),
        *wrapped([*_notes(report, measured), *_best(report, measured)]),
    ]


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    report = each["report"]
    latency = report["latency_ms"]
    return (
        *(str(each[name]) for name in LARGEST),
        short(latency["median"]),
        _width(latency),
        short(report["throughput_per_s"]),
        report["verdict"],
    )


def _width(latency: dict[str, Any]) -> str:
    """How far the median's interval reaches."""
    if latency["median_interval"] is None:
        return "-"
    median, (low, high) = latency["median"], latency["median_interval"]
    return f"+-{100 * max(median - low, high - median) / median:.1f}%"


def _notes(report: dict[str, Any], measured: list[dict[str, Any]]) -> list[str]:
    """Which settings are missing or doubtful and why, and what was measured how."""
    skipped = Counter(each["reason"] for each in report["skipped"])
    doubts = [
        f"INVALID {_setting(each)}: {', '.join(each['report']['reasons'])}"
        for each in measured
        if each["report"]["reasons"]
    ]
    here = measured[0]["report"]["conditions"]
    how = "calls back to back in each stream" if report["scenario"] == OFFLINE else "one by one"
    return [
        f"{Path(report['artifact']).name}, scenario {report['scenario']}: {how}; p50: of one call, "
        "with its 95 % interval; threads: in all, divided among the streams",
        *(f"skipped {counted([n], 'setting')}: {reason}" for reason, n in skipped.items()),
        *doubts,
        f"{here['cpu']}, {here['cpu_capability']}, torch {here['torch']}, order by seed "
        f"{report['seed']}, {here['date']}",
    ]


def _best(report: dict[str, Any], measured: list[dict[str, Any]]) -> list[str]:
    """The settings of the highest throughput and of the lowest latency, a line for each."""
    high, low = report["highest_throughput"], report["lowest_latency"]
    if high is None:
        return ["no setting is VALID, so none is the best: measure again on a quiet machine"]
    figures = {_setting(each): each["report"] for each in measured}
    rate = short(figures[_setting(high)]["throughput_per_s"])
    time = short(figures[_setting(low)]["latency_ms"]["median"])
    return [
        f"highest throughput: {_setting(high)}: {rate} images/s",
        f"lowest latency: {_setting(low)}: {time} ms",
    ]


def _setting(each: dict[str, Any]) -> str:
    return str(Setting(**{name: each[name] for name in LARGEST}))
