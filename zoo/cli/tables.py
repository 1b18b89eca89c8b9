"""What the commands print: tables of 80 columns, and a progress line on stderr."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress as Live
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from compile.report import short, size, table

if TYPE_CHECKING:
    from zoo.cli.cells import Cell
    from zoo.training.speed import Speed


class Progress:
    """A line on stderr that says what runs: it ticks on a terminal, elsewhere each stage is one."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        self._live = Live(*columns, console=self._console, transient=True)
        self._task = self._live.add_task("", total=None)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, stage: str) -> None:
        if self._console.is_terminal:
            self._live.update(self._task, description=stage)
        else:
            self._console.print(stage, markup=False)


def compile_table(cells: list[Cell]) -> list[Any]:
    """Built and standing artifacts, then why the others are not there."""
    rows = []
    for cell in cells:
        if cell.refused:
            result = "not here"
        elif cell.failed:
            result = "FAILED"
        else:
            result = "built" if cell.built else "up to date"
        seconds = f"{cell.seconds:.1f} s" if cell.built else "-"
        num_bytes = size(cell.num_bytes) if cell.path else "-"
        rows.append((cell.backend, cell.precision, cell.device, num_bytes, seconds, result))
    columns = ("backend", "precision", "device", "size", "time", "result")
    lines: list[Any] = [table(columns, rows, left=("backend", "precision", "device", "result"))]
    root = next((cell.path.parent for cell in cells if cell.path), None)
    reasons = {f"{cell.backend}: {cell.refused}" for cell in cells if cell.refused}
    lines += [*wrapped(sorted(reasons)), *([f"in {root}/"] if root else [])]
    return lines


def bench_table(reports: list[dict[str, Any]]) -> list[Any]:
    """One row for each artifact, measured by zoo-run, and Python's median of the same file."""
    rows = [_bench_row(report) for report in reports]
    columns = (
        *("artifact", "load ms\nfirst", "median\nms", "p90\nms", "p99\nms", "per s"),
        *("peak\nMB", "file\nMB", "verdict", "Python\nms"),
    )
    lines: list[Any] = [table(columns, rows, left=("artifact",))]
    doubts = [
        f"{Path(report['artifact']).name} ({place}): {', '.join(report[place]['reasons'])}"
        for report in reports
        for place in ("runner", "python")
        if report[place] and report[place]["reasons"]
    ]
    conditions = next(r["runner"] or r["python"] for r in reports)["conditions"]
    here = reports[0]["python"]["conditions"]
    allocator, others = allocators(reports)
    facts = (
        f"{here['cpu']}, {counted([here['threads']], 'thread')}, {here['level']}, torch "
        f"{here['versions'].get('torch')}, allocator {allocator} (in both{others}), "
        f"commit {conditions.get('commit') or here['commit']}, {here['date']}"
    )
    notes = [
        "first: the first call; median: with its 95 % interval; Python: the median of the same "
        "file there; -: too few samples beyond, or zoo-run has no engine for it",
        *(f"INVALID {doubt}" for doubt in doubts),
        facts,
    ]
    return [*lines, *wrapped(notes)]


def allocators(reports: list[dict[str, Any]]) -> tuple[str, str]:
    """What serves zoo-run, or Python without it, and which backends run on another in Python."""
    served = [
        (report["python"]["backend"], Path(report["python"]["conditions"]["allocator"]).name)
        for report in reports
    ]
    runners = [report["runner"]["conditions"] for report in reports if report["runner"]]
    usual = Path(runners[0]["allocator"]).name if runners else served[0][1]
    others = {
        f"; {backend} in Python: {name}" for backend, name in served if not _same(name, usual)
    }
    return usual, "".join(sorted(others))


def _same(one: str, other: str) -> bool:
    """Whether two files are one library: a link may leave out its last numbers."""
    return one.startswith(other) or other.startswith(one)


def _bench_row(report: dict[str, Any]) -> tuple[str, ...]:
    own = report["runner"]
    python = report["python"]
    name = "{}\n{} b{}".format(*(python[key] for key in ("backend", "precision", "batch")))
    if own is None:
        empty = ("-",) * 7
        return (name, *empty, python["verdict"], _median(python["latency_ms"]))
    latency = own["latency_ms"]
    return (
        name,
        f"{short(own['load_ms'])}\n{short(own['first_call_ms'])}",
        _median(latency),
        short(latency["p90"]),
        short(latency["p99"]),
        short(own["throughput_per_s"]),
        f"{own['peak_rss_bytes'] / 1e6:.0f}",
        f"{own['file_bytes'] / 1e6:.1f}",
        own["verdict"],
        _median(python["latency_ms"]),
    )


def _median(latency: dict[str, Any]) -> str:
    interval = latency["median_interval"]
    if interval is None:
        return short(latency["median"])
    width = max(latency["median"] - interval[0], interval[1] - latency["median"])
    share = 100 * width / latency["median"]
    return f"{short(latency['median'])}\n" + (
        f"+-{share:.1f}%" if share < 9.95 else f"+-{share:.0f}%" if share < 99.5 else "+->99%"
    )


def speed_table(speeds: list[Speed], here: dict[str, Any]) -> list[Any]:
    """One row for each loop of `zoo train --profile`, and what the columns mean."""
    rows = [
        (
            speed.name,
            short(speed.images_per_s),
            _range(speed.interval),
            short(speed.over_plain),
            _range(speed.over_plain_interval),
            str(speed.n),
        )
        for speed in speeds
    ]
    columns = ("loop", "images/s", "95 %", "times plain", "95 %", "n")
    notes = [
        "plain loop: eager, fp32, NCHW, one batch in memory over and over, in a process of its own",
        f"{here['cpu']}, {counted([here['threads']], 'thread')}, "
        f"torch {here['versions'].get('torch')}, commit {here['commit']}, {here['date']}",
    ]
    return [table(columns, rows, left=("loop",)), *wrapped(notes)]


def _range(interval: tuple[float, float] | None) -> str:
    return f"{short(interval[0])}..{short(interval[1])}" if interval else "-"


def inspect_lines(path: Path, manifest: dict[str, Any], unfit: str | None) -> list[Any]:
    """What the artifact is, needs and proved; `unfit` says why it cannot run here."""
    model, parity, needs = manifest["model"], manifest["parity"], manifest["requirements"]
    bounds = [row for output in parity["outputs"] for row in output["bounds"]]
    ratios = [row["rmse"] / row["bound"] for row in bounds if row["rmse"] and row["bound"]]
    worst = f"{max(ratios):.2f}" if ratios else "not recorded"
    files = ", ".join(f"{n} {size(f['size'])}" for n, f in manifest["files"].items())
    batches = ", ".join("{}..{}".format(*p["batch"]) for p in manifest["programs"])
    shape = "x".join(map(str, manifest["inputs"][0]["shape"]))
    isa = counted([len(needs["isa"])], "flag")
    rows = [
        ("model", f"{model['name']}, {model['parameters']:,} parameters, from {model['source']}"),
        ("program", f"{manifest['backend']} {manifest['precision']} on {manifest['device']}"),
        ("input", f"{manifest['inputs'][0]['dtype']} N x {shape}, N in {batches}"),
        ("needs", f"torch {needs['torch'] or 'any'}, {manifest['target']['name']} ({isa})"),
        ("files", files),
        ("status", manifest["status"]),
        ("parity", f"largest error/bound {worst}, ran in {', '.join(parity['ran_in'])}"),
        ("gates", ", ".join(gate["name"] for gate in parity["gates"])),
        ("not gated", _skipped(parity)),
        ("not tried", _left_out(parity)),
        ("repeats", _repeats(manifest["determinism"])),
        ("quantised", _quantised(manifest.get("quantization"))),
        ("non-finite", ", ".join(f"{k} {v}" for k, v in (manifest["nonfinite"] or {}).items())),
        ("built", f"{manifest['build']['date']} in {manifest['build']['seconds']} s"),
    ]
    lines = [f"{name:<11} {value}" for name, value in rows if value]
    lines.append(f"rebuild     {manifest['build']['command']}")
    if unfit is not None:
        lines.append(f"here        {unfit}")
    return [f"{path}: sound", *wrapped(lines, indent=12)]


def _skipped(parity: dict[str, Any]) -> str:
    return "; ".join(f"{each['name']}: {each['reason']}" for each in parity["skipped_gates"])


def _left_out(parity: dict[str, Any]) -> str:
    return "; ".join(f"{each['kind']}: {each['reason']}" for each in parity["skipped_samples"])


def _repeats(entry: dict[str, Any] | None) -> str:
    """How often it was tried whether the outputs have the same bits, and whether they have."""
    if entry is None:
        return ""
    nouns = ("call", "load", "thread")
    text = ", ".join(counted([entry[f"{noun}s"]], noun) for noun in nouns) + ": "
    text += "the same bits" if entry["bit_identical"] else "NOT the same bits"
    if entry.get("runners"):
        same = "the same bits" if entry.get("runners_identical") else "NOT the same bits"
        text += f"; {entry['runners']} zoo-runs at once: {same}"
    return text


def _quantised(entry: dict[str, Any] | None) -> str:
    if not entry:
        return ""
    text = f"{entry['scheme']}, by {entry['samples']} images ({entry['calibration']})"
    counted = entry.get("accuracy")
    if counted:
        text += f"; accuracy {counted['before']:.1f} % before, {counted['after']:.1f} % after"
        if "mcnemar_p" in counted:
            text += f" ({counted['lost']} lost, {counted['won']} won, p {counted['mcnemar_p']:.2g})"
    return text


def counted(numbers: Iterable[int], noun: str) -> str:
    """`1 call`, `1,000 calls`, or from the smallest to the largest: `86 to 1,000 calls`."""
    known = set(numbers)
    span = " to ".join(f"{number:,}" for number in sorted({min(known), max(known)}))
    return f"{span} {noun}" if known == {1} else f"{span} {noun}s"


def wrapped(lines: list[str], indent: int = 2) -> list[str]:
    """Break lines at 79 columns, between words only: paths and commands stay whole."""
    wrap = textwrap.TextWrapper(
        79, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in wrap.wrap(line)]
