"""zoo report: one page about what was measured and proved, from files that zoo itself wrote.

The files in data/page/ are those of real commands, about a seeded resnet18 for 3x32x32:
`zoo bench --json --threads 1 --iterations 150`, `zoo check --json`, zoo-run on one artifact and on
another with --check, `zoo inspect --json` and a manifest. Only the folders of the machine in them
were renamed.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zoo
from compile.errors import BadArtifact
from compile.page.page import write_page
from tests.support.layout import ROOT
from tests.support.networks import SHAPE, small_net
from tests.support.page import Seen
from zoo.cli import _run

DATA = ROOT / "tests" / "data" / "page"
NAMES = ("bench", "check", "run", "run-check", "inspect", "manifest")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def kept() -> dict[str, Json]:
    """The files in data/page/ by name. Copy one before you change it."""
    return {name: json.loads((DATA / f"{name}.json").read_text()) for name in NAMES}


def drawn(folder: Path, **documents: Json) -> Seen:
    """The page about some documents."""
    files = []
    for name, document in documents.items():
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(document))
    write_page(files, folder / "page.html")
    return Seen((folder / "page.html").read_text())


def measured(bench: Json) -> dict[str, Json]:
    """What the page shows of each artifact of `zoo bench`: zoo-run's report, else Python's."""
    return {
        Path(report["artifact"]).name: report["runner"] or report["python"]
        for report in bench["reports"]
    }


def set_verdicts(bench: Json, verdict: str) -> None:
    for report in bench["reports"]:
        for place in ("runner", "python"):
            if report[place]:
                report[place] |= {"verdict": verdict, "reasons": ["too noisy"]}


def test_real_commands_make_a_page(
    tmp_path: Path, runner: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, page = tmp_path / "artifacts", tmp_path / "page.html"
    for backend in ("eager", "torchscript"):
        given = {"shape": SHAPE, "backend": backend, "root": root, "runner": runner}
        path = zoo.compile(small_net(), **given).path
    capfd.readouterr()
    quick = ["--threads", "1", "--runner", str(runner), "--json"]
    commands = {
        "bench": ["bench", str(path.parent), "--iterations", "12", *quick],
        "check": ["check", str(path.parent), *quick],
        "inspect": ["inspect", str(path), "--json"],
    }
    files = [path / "manifest.json", *(tmp_path / f"{name}.json" for name in commands)]
    for file, command in zip(files[1:], commands.values(), strict=True):
        assert _run(command) == 0
        file.write_text(capfd.readouterr().out)
    assert _run(["report", *map(str, files), "--html", str(page)]) == 0
    said = capfd.readouterr().out.splitlines()
    assert said[0] == f"wrote {page}, about 2 artifacts" and said[-1].startswith("next: ")
    seen = Seen(page.read_text())
    assert seen.faults == [] and seen.shut()
    assert {*seen.table(", batch 1, on").column("proof")} == {"proved"}
    assert len(seen.table("outputs, error / bound").rows) == 4  # built, Python twice, zoo-run
    assert _run(["report", *map(str, files), "--html", str(page), "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["artifacts"]) == 2
    assert zoo.report(*files, html=page) == page  # replaces its own page


def test_the_page_loads_nothing_and_is_well_formed(kept: dict[str, Json], tmp_path: Path) -> None:
    seen = drawn(tmp_path, **kept)
    assert seen.faults == [] and seen.shut()
    assert len(seen.texts["h1"]) == 1
    titles = (
        "Which one to take|Latency|Latency, error and size|Parity|Where the time goes|Conditions"
    )
    assert seen.texts["h2"] == titles.split("|")
    assert {head["scope"] for head in seen.attributes["th"]} == {"col", "row"}
    assert len(seen.texts["desc"]) == len(seen.attributes["svg"]) >= 3
    assert all(each["role"] == "img" and each["aria-label"] for each in seen.attributes["svg"])
    targets = {each.get("id") for each in seen.attributes["h2"]}
    assert {each["href"].removeprefix("#") for each in seen.attributes["a"]} == targets


def test_the_summary_has_the_figures_of_the_report(kept: dict[str, Json], tmp_path: Path) -> None:
    table = drawn(tmp_path, bench=kept["bench"], check=kept["check"]).table(", batch 1, on")
    reports = measured(kept["bench"])
    rows = {name: row for name, *row in table.rows}
    assert {*rows} == {name for name in reports if "c3" not in name}
    medians = [float(cell) for cell in table.column("median")]
    assert medians == sorted(medians)
    for name, *_ in table.rows:
        report, cells = reports[name], dict(zip(table.columns[1:], rows[name], strict=True))
        latency = report["latency_ms"]
        assert cells["backend"] == report["backend"]
        assert cells["precision"] == report["precision"]
        assert float(cells["median ms"]) == pytest.approx(latency["median"], abs=6e-4)
        low, high = map(float, cells["95 % interval ms"].split(" to "))
        assert (low, high) == pytest.approx(latency["median_interval"], abs=6e-4)
        assert cells["p99 ms"] == "-"  # of 150 calls
        throughput = float(cells["throughput 1/s"].replace(",", ""))
        assert throughput == pytest.approx(report["throughput_per_s"], rel=0.01)
        assert cells["verdict"] == report["verdict"] and cells["proof"] == "proved"
        in_runner = "peak_rss_bytes" in report
        assert cells["measured in"] == ("zoo-run" if in_runner else "Python")
        if in_runner:
            assert float(cells["peak MB"]) == pytest.approx(report["peak_rss_bytes"] / 1e6, abs=0.5)
            assert float(cells["file MB"]) == pytest.approx(report["file_bytes"] / 1e6, abs=0.06)


def test_times_eager_is_the_ratio_of_valid_medians(kept: dict[str, Json], tmp_path: Path) -> None:
    bench = copy.deepcopy(kept["bench"])
    set_verdicts(bench, "VALID")
    reports = measured(bench)
    last = bench["reports"][-2]
    (last["runner"] or last["python"])["verdict"] = "INVALID"
    table = drawn(tmp_path, bench=bench).table(", batch 1, on")
    eager = next(each for name, each in reports.items() if name.startswith("eager"))
    for name, cell in zip(table.column("artifact"), table.column("x eager"), strict=True):
        ratio = eager["latency_ms"]["median"] / reports[name]["latency_ms"]["median"]
        shown = reports[name]["verdict"] == "VALID"
        assert cell == (f"{ratio:.2f}" if shown else "-"), name
    set_verdicts(bench, "INVALID")
    assert {*drawn(tmp_path, bench=bench).table(", batch 1, on").column("x eager")} == {"-"}


def test_the_fastest_valid_and_proved_one_is_to_be_taken(
    kept: dict[str, Json], tmp_path: Path
) -> None:
    bench, check = copy.deepcopy(kept["bench"]), copy.deepcopy(kept["check"])
    set_verdicts(bench, "VALID")
    reports = {name: each for name, each in measured(bench).items() if "c3" not in name}
    order = sorted(reports, key=lambda name: reports[name]["latency_ms"]["median"])
    take = drawn(tmp_path, bench=bench, check=check).take
    assert take[0].startswith(f"Take {order[0]}: ") and "VALID and proved" in take[0]
    reports[order[0]]["verdict"] = "INVALID"
    seen = drawn(tmp_path, bench=bench, check=check)
    assert seen.take[0].startswith(f"Take {order[1]}: ")
    assert f"Passed over: {order[0]} is INVALID." in " ".join(seen.texts["p"])
    for row in check["rows"]:
        if row["artifact"].endswith(order[1]):
            row |= {"verdict": "FAILED", "reasons": ["rmse is 3 bounds"]}
    seen = drawn(tmp_path, bench=bench, check=check)
    assert seen.take[0].startswith(f"Take {order[2]}: ")
    assert "FAILED" in seen.table("outputs").column("verdict")
    assert any("rmse is 3 bounds" in item for item in seen.texts["li"])
    set_verdicts(bench, "INVALID")
    seen = drawn(tmp_path, bench=bench, check=check)
    assert all(line.startswith("No measurement here is VALID") for line in seen.take)
    assert any("too noisy" in item for item in seen.texts["li"])


def test_figures_of_other_conditions_are_not_compared(
    kept: dict[str, Json], tmp_path: Path
) -> None:
    run = copy.deepcopy(kept["run"])
    run["conditions"]["threads"] = 64
    seen = drawn(tmp_path, bench=kept["bench"], run=run)
    captions = [table.caption for table in seen.tables if ", on " in table.caption]
    assert len(captions) == 3  # the scores, the feature maps, the scores with 64 threads
    assert captions[-1].endswith("64 threads")
    assert seen.table("64 threads").column("p99") != ["-"]  # of 1,000 calls
    assert any("c3+c4+c5" in caption for caption in captions)


def test_the_matrix_has_every_output_and_gate(kept: dict[str, Json], tmp_path: Path) -> None:
    seen = drawn(tmp_path, check=kept["check"], manifest=kept["manifest"], inspect=kept["inspect"])
    table = seen.table("c3+c4+c5: outputs")
    assert table.columns[-3:] == ["c3", "c4", "c5"]
    rows = [row for row in kept["check"]["rows"] if "c3" in row["artifact"]]
    shown = {place: cells for _, place, _, *cells in table.rows}
    for row in rows:
        for output, cell in zip(row["outputs"], shown[row["ran_in"]], strict=True):
            assert float(cell.split()[0]) == pytest.approx(output["ratio"], rel=0.06)
            assert cell.endswith("passed")
    gates = {gate["name"] for gate in kept["inspect"]["parity"]["gates"]}
    assert gates <= {*seen.table("3x32x32: gates").columns}


HOSTILE = '<script>alert("1")</script> \' onload=x &amp; \u202e</title></style><img src=//x.org>'


def replaced(value: Any, old: set[str]) -> Any:
    """The document with hostile words around every text that decides nothing."""
    if isinstance(value, dict):
        return {key: replaced(entry, old) for key, entry in value.items()}
    if isinstance(value, list):
        return [replaced(entry, old) for entry in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) and value not in old else value


def test_every_text_of_a_file_is_escaped(kept: dict[str, Json], tmp_path: Path) -> None:
    decides = {"VALID", "INVALID", "PASSED", "FAILED", "proved", "1.0"}
    names = ("bench", "check", "run", "run-check")
    seen = drawn(tmp_path, **{name: replaced(kept[name], decides) for name in names})
    assert seen.faults == [] and seen.shut()
    assert any("<script>alert" in text for text in seen.texts["td"] + seen.texts["th"])
    assert "\u202e" not in seen.source
    manifest = copy.deepcopy(kept["inspect"])
    manifest["model"]["name"] = manifest["model"]["source"] = HOSTILE.replace("\u202e", "")
    assert drawn(tmp_path, manifest=manifest).faults == []


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each (holder, key) of a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:3])
    for key, entry in list(pairs):
        yield value, key
        if isinstance(entry, dict | list):
            yield from places(entry)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_missing_or_strange_never_breaks_the_page(
    seed: int, kept: dict[str, Json], tmp_path: Path
) -> None:
    draw = random.Random(seed)
    documents = {name: copy.deepcopy(kept[name]) for name in NAMES[:4]}
    for document in documents.values():
        for _ in range(draw.choice([1, 3, 30])):
            holder, key = draw.choice([*places(document), (document, "more")])
            strange = draw.choice([None, "", "x", [], {}, -1, 0, 1e308, 5e-324, True, [1], "del"])
            if strange == "del" and key != "more":
                del holder[key]
            else:
                holder[key] = strange
    try:
        assert drawn(tmp_path, **documents).faults == []
    except BadArtifact as error:
        assert "give a report of" in str(error)
