"""The tables of `zoo check`: parity wherever a program ran, accuracy, and notes below them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.advice import how_to_build_runner
from compile.report import short, table
from zoo.cli.labels import broken
from zoo.cli.selecting import NO_SCORES
from zoo.cli.tables import counted, wrapped

if TYPE_CHECKING:
    from compile.proof.check import Row
    from compile.proof.parity import OutputVerdict

_LABEL_WIDTH = 19


def check_table(
    rows: list[Row], runner: Path | None, no_data: dict[str, str], special: dict[str, str]
) -> list[Any]:
    """A row for each program and place that it ran in, then the accuracies, then notes.

    `no_data` has the names of artifacts without test images, and why there are none; `special`
    what `traits` says of the artifacts.
    """
    lines: list[Any] = []
    for model in dict.fromkeys(row.artifact.split("/")[0] for row in rows):
        chosen = [row for row in rows if row.artifact.startswith(f"{model}/")]
        lines += [model, _parity_table(chosen, special), *_accuracy_lines(chosen, special)]
    return [*lines, *wrapped(_notes(rows, runner, no_data, special))]


def _label(row: Row, special: dict[str, str]) -> str:
    """Backend, precision and batch; what else is special about the artifact, on more lines."""
    program = f"{row.precision} b{row.batch}"
    lines = [f"{row.backend} {program}"]
    if len(lines[0]) > _LABEL_WIDTH:
        lines = [row.backend, f"  {program}"]
    traits = special.get(row.artifact, "")
    if len(row.outputs) > 1:  # each has a row of its own
        traits = traits.removesuffix("+".join(output.name for output in row.outputs)).rstrip("-")
    parts = broken(traits, _LABEL_WIDTH - 2)
    return "\n".join([*lines, *(f"  {part}" for part in parts)])


def _flat(row: Row, special: dict[str, str]) -> str:
    """The label in one line."""
    rest = special.get(row.artifact, "")
    return f"{row.backend} {row.precision} b{row.batch} {rest}".rstrip()


def _place(row: Row) -> str:
    return row.ran_in.replace("onnx.reference", "onnx ref.")


def _parity_table(rows: list[Row], special: dict[str, str]) -> Any:
    """A row for each program and place; below it one for each output, if there are several."""
    cells: list[tuple[str, ...]] = []
    for row in rows:
        cells.append(
            (
                _label(row, special),
                _place(row),
                short(row.ratio, 2),
                short(row.eager_ratio, 2),
                _decibels(row.sqnr_db),
                _exponent(row.max_abs),
                f"{row.agreed}/{row.decided}" if row.holds_scores else "-",
                _right(row),
                row.verdict,
            )
        )
        cells += map(_output_cells, row.outputs if len(row.outputs) > 1 else ())
    columns = (
        *("artifact", "ran in", "error\n/bound", "error\n/eager"),
        *("SQNR\ndB", "max\nabs", "top-1", "right\n%", "verdict"),
    )
    return table(columns, cells, left=("artifact", "ran in"), gap=1)


def _output_cells(output: OutputVerdict) -> tuple[str, ...]:
    return (
        "\n".join(f"  {part}" for part in broken(output.name, _LABEL_WIDTH - 2)),
        "",
        short(output.ratio, 2),
        "",
        _decibels(output.sqnr_db),
        _exponent(output.max_abs),
        "{1}/{0}".format(*output.top1) if output.top1 else "",
        "",
        "",
    )


def _right(row: Row) -> str:
    if not row.holds_scores:
        return "-"
    return _percent(row.correct, row.total) if row.total else "no data"


def _exponent(value: float) -> str:
    return "-" if value != value else f"{value:.0e}"


def _decibels(value: float | None) -> str:
    """At most five characters; for an SQNR near 0, `short` would take up to nine."""
    if value is None or abs(value) >= 99.95:
        return short(value)
    return f"{value:.1f}"


def _percent(part: int | None, whole: int | None) -> str:
    return f"{100 * part / whole:.1f}" if part is not None and whole else "-"


def _accuracy_lines(rows: list[Row], special: dict[str, str]) -> list[Any]:
    """A table of the correctly classified images, the float64 model first; empty without images."""
    counted = [row for row in rows if row.accuracy]
    lines: list[Any] = []
    for total in dict.fromkeys(row.total for row in counted):
        chosen = [row for row in counted if row.total == total]
        columns = ("on the test set", "right", "%", "95 % interval", "lost", "won", "p")
        cells = [*_float64_cells(chosen[0].accuracy), *_accuracy_cells(chosen, special)]
        lines += ["", f"accuracy on {total} test images"]
        lines.append(table(columns, cells, left=("on the test set",)))
    return lines


def _float64_cells(accuracy: dict[str, Any] | None) -> list[tuple[str, ...]]:
    """The row of the module itself; empty if its classes are not known."""
    from compile.proof.accuracy import wilson

    if accuracy is None or accuracy["float64"] is None:
        return []
    correct, total = accuracy["float64"]["correct"], accuracy["total"]
    interval = [100 * end for end in wilson(correct, total)]
    shown = (str(correct), _percent(correct, total), _interval(interval))
    return [("the module in float64", *shown, "", "", "")]


def _accuracy_cells(rows: list[Row], special: dict[str, str]) -> list[tuple[str, ...]]:
    """A row for each program, or for each place that it ran in if they classify differently."""
    cells = []
    for artifact, batch in dict.fromkeys((row.artifact, row.batch) for row in rows):
        places = [row for row in rows if (row.artifact, row.batch) == (artifact, batch)]
        alike = all(row.accuracy == places[0].accuracy for row in places)
        for row in places[:1] if alike else places:
            label = _label(row, special)
            cells.append(_accuracy_row(label if alike else f"{label}\n  in {_place(row)}", row))
    return cells


def _accuracy_row(label: str, row: Row) -> tuple[str, ...]:
    assert row.accuracy is not None
    pairs = row.accuracy["float64"]
    shown = (
        str(row.correct),
        _percent(row.correct, row.total),
        _interval(row.accuracy["interval"]),
    )
    if pairs is None:
        return (label, *shown, "-", "-", "-")
    return (label, *shown, str(pairs["lost"]), str(pairs["won"]), short(pairs["mcnemar_p"], 2))


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:.1f} to {ends[1]:.1f}"


def _notes(
    rows: list[Row], runner: Path | None, no_data: dict[str, str], special: dict[str, str]
) -> list[str]:
    most = max(row.samples for row in rows)
    notes = [
        f"error: against float64, the largest of {most} samples, hostile ones included; it is "
        "divided by the bound (at most 1 passes) and by PyTorch's own error at that precision; "
        "top-1: samples that agree, of those that are clear enough to decide; SQNR and max abs "
        "are those of the 16 ordinary samples"
    ]
    if any(row.accuracy and row.accuracy["float64"] for row in rows):
        notes.append(
            "lost, won: images that only float64, or only the artifact, classifies correctly; "
            "p: of McNemar's exact test; if it is small, chance is a poor explanation"
        )
    notes += _worst_parts(rows, special)
    if any(not row.holds_scores for row in rows):
        notes.append("-: no output of the artifact holds scores of classes")
    for name, why in _grouped(no_data):
        notes.append(f"right %, {name}: no test images: {why}")
    notes += [*_bits(rows, special), *_repeats(rows, special)]
    notes += [*_nan(rows), *_left_out(rows, special)]
    served = {row.backend for row in rows if row.ran_in == "zoo-run"}
    alone = dict.fromkeys(row.backend for row in rows if row.backend not in served)
    if runner is not None and alone:
        notes.append(f"{', '.join(alone)}: no engine in zoo-run, so only run in Python")
    if runner is None:
        notes.append(f"there is no zoo-run, so all ran in Python; {how_to_build_runner()}")
    return notes


def _worst_parts(rows: list[Row], special: dict[str, str]) -> list[str]:
    """Where the outputs are most wrong, if there are several or some have channels."""
    worst = [
        f"{_flat(row, special)} in {_place(row)}: {row.worst}" for row in rows if "," in row.worst
    ]
    return [f"most wrong: {'; '.join(worst)}"] if worst else []


def _grouped(no_data: dict[str, str]) -> list[tuple[str, str]]:
    """Models, and why they have no test images; each pair once."""
    return list(
        dict.fromkeys(
            (name.split("/")[0], why) for name, why in no_data.items() if why != NO_SCORES
        )
    )


def _bits(rows: list[Row], special: dict[str, str]) -> list[str]:
    """Whether Python and zoo-run gave the same outputs."""
    compared = [(row, row.same_bits) for row in rows if row.same_bits]
    if not compared:
        return []
    same = sum(bits["identical"] for _, bits in compared)
    first = compared[0][1]
    threads = counted([first["threads"]], "thread")
    allocators = " and ".join(dict.fromkeys(first["allocators"].values()))
    text = (
        f"zoo-run and Python ran the same files, on {threads}, with {allocators}: "
        f"the same bits in {same} of {len(compared)} programs"
    )
    others = [
        f"{_flat(row, special)} by {bits['ulps']} ulps, {bits['max_abs']:.0e}"
        if bits["ulps"] is not None
        else f"{_flat(row, special)} not finite"
        for row, bits in compared
        if not bits["identical"]
    ]
    return [text + (f"; largest differences: {'; '.join(others)}" if others else "")]


def _repeats(rows: list[Row], special: dict[str, str]) -> list[str]:
    """Which artifacts do not repeat themselves to the bit, and how often they were run."""
    measured = {
        row.artifact: (_flat(row, special), row.determinism) for row in rows if row.determinism
    }
    if not measured:
        return []
    entries = [entry for _, entry in measured.values()]
    calls = counted([entry["calls"] for entry in entries], "call")
    tried = f"over {calls} and {counted([entry['loads'] for entry in entries], 'load')}"
    served = [each for each in measured.values() if each[1].get("runners")]
    numbers = [entry["runners"] for _, entry in served]
    together = f"by {counted(numbers, 'zoo-run')} at once" if served else ""
    restless = [name for name, entry in measured.values() if not entry["bit_identical"]]
    apart = [name for name, entry in served if not entry["runners_identical"]]
    if restless or apart:
        tries = ((tried, restless, measured), (together, apart, served))
        return [
            f"not the same bits {how}: {len(wrong)} of {len(all_)}: {', '.join(wrong)}"
            for how, wrong, all_ in tries
            if wrong
        ]
    everyone = len(measured) == len({row.artifact for row in rows})
    text = f"the same bits {tried}: all" + ("" if everyone else f" {len(entries)} measured")
    return [text + (f"; {len(served)} of {len(entries)} also {together}" if served else "")]


def _nan(rows: list[Row]) -> list[str]:
    """What one NaN pixel does to the output, and in which artifacts."""
    effects: dict[str, list[str]] = {}
    for row in {row.artifact: row for row in rows if row.nonfinite}.values():
        assert row.nonfinite is not None
        effects.setdefault(row.nonfinite["nan"], []).append(f"{row.backend} {row.precision}")
    if not effects:
        return []
    parts = (f"{what}: {', '.join(dict.fromkeys(names))}" for what, names in effects.items())
    return [f"a NaN pixel is refused unless it is allowed; {'; '.join(parts)}"]


def _left_out(rows: list[Row], special: dict[str, str]) -> list[str]:
    """Hostile samples that some artifacts are not tried on."""
    texts: Iterable[str] = (
        f"{_flat(row, special)} is not tried on '{entry['kind']}': {entry['reason']}"
        for row in rows
        for entry in row.skipped_samples
    )
    return list(dict.fromkeys(texts))
