"""zoo report on sweeps and scenarios: each is a kind of its own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from compile.errors import BadArtifact
from compile.page.evidence import collect
from compile.page.page import write_page
from compile.page.reading import read_document
from tests.support.browser import find_browser, measured
from tests.support.page import Seen
from tests.test_report_comparison import comparison, program
from tests.test_report_page import places

NAME = "torchscript-fp32-b1-16-cpu"
SCENARIOS = ("multi-stream", "offline", "server")


def sweep(*settings: tuple[int, int, int], verdict: str = "VALID") -> dict[str, Any]:
    """Such as `zoo bench --sweep --json` prints, of (batch, threads, streams)."""
    measured = []
    for batch, threads, streams in settings:
        report = program(NAME, 1.5 * batch * streams / threads)
        report |= {"throughput_per_s": 600.0 * threads, "verdict": verdict, "scenario": "offline"}
        report |= {"reasons": [] if verdict == "VALID" else ["too noisy"]}
        setting = {"batch": batch, "threads": threads, "streams": streams}
        measured.append({**setting, "report": report})
    return {
        "kind": "sweep",
        "artifact": program(NAME, 1.0)["artifact"],
        "scenario": "offline",
        "settings": measured,
        "skipped": [{"batch": 1, "threads": 1, "streams": 2, "reason": "1 thread for 2 streams"}],
    }


GRID = [(b, t, s) for b in (1, 4, 16) for t, s in ((1, 1), (2, 1), (2, 2))]


def scenario(name: str, **changes: Any) -> dict[str, Any]:
    """Such as `zoo-run --scenario NAME --json FILE` writes."""
    report = program(NAME, 2.0) | {"scenario": name, "streams": 2, "threads_per_stream": 1}
    report["latency_ms"]["p99"] = 4.5
    report |= {"rate_per_s": None, "p99_bound_ms": None, "throughput_per_s": None, "search": []}
    return report | changes


def server(p99: float, **changes: Any) -> dict[str, Any]:
    report = scenario("server", rate_per_s=310.0, p99_bound_ms=5.0, **changes)
    report["latency_ms"]["p99"] = p99
    return report


def drawn(folder: Path, *documents: dict[str, Any]) -> Seen:
    files = []
    for number, document in enumerate(documents):
        files.append(folder / f"{number}.json")
        files[-1].write_text(json.dumps(document))
    write_page(files, folder / "page.html")
    seen = Seen((folder / "page.html").read_text())
    assert seen.faults == [] and seen.shut()
    return seen


def test_a_sweep_is_a_kind_of_its_own(tmp_path: Path) -> None:
    seen = drawn(tmp_path, sweep(*GRID))
    assert seen.texts["h1"] == ["net-12345678"]
    assert seen.texts["h2"] == ["Which one to take", "Sweep", "Parity", "Conditions"]
    assert seen.take == [], "settings of one artifact are no choice between artifacts"
    table = seen.table("scenario offline")
    assert len(table.rows) == 9
    rates = [float(cell.replace(",", "")) for cell in table.column("throughput")]
    assert rates == sorted(rates, reverse=True)
    assert table.column("setting")[0] == "batch 1, 2 threads, 1 stream"
    assert {*table.column("verdict")} == {"VALID"}
    said = " ".join(seen.texts["p"])
    assert "Highest throughput: batch 1, 2 threads, 1 stream, 1200 images/s." in said
    assert "Lowest latency: batch 1, 2 threads, 1 stream, 0.750 ms." in said
    assert "Skipped: 1 thread for 2 streams." in said


def test_a_picture_has_a_line_for_each_number_of_threads_and_streams(tmp_path: Path) -> None:
    seen = drawn(tmp_path, sweep(*GRID))
    kinds = [each.get("class", "") for each in seen.attributes["path"]]
    assert sorted(kinds) == ["series s0", "series s1", "series s2"]
    dots = [each["class"] for each in seen.attributes["circle"]]
    assert len(dots) == 9 and not any("doubtful" in each for each in dots)
    for name in ("1 thread, 1 stream", "2 threads, 1 stream", "2 threads, 2 streams"):
        assert name in seen.texts["text"]
    assert "batches 1, 4, 16, in this order" in " ".join(seen.texts["figcaption"])
    only = drawn(tmp_path, sweep((1, 1, 1), (4, 1, 1), (1, 2, 1)))
    assert "2 threads" in only.texts["text"], "streams are not named where there is one"
    alone = drawn(tmp_path, sweep((1, 1, 1)))
    assert "svg" not in alone.attributes


def test_settings_that_are_invalid_are_never_the_best(tmp_path: Path) -> None:
    seen = drawn(tmp_path, sweep(*GRID, verdict="INVALID"))
    assert any("No setting is VALID" in text for text in seen.texts["p"])
    assert all("doubtful" in each["class"] for each in seen.attributes["circle"])
    assert f"{NAME}, batch 1, 1 thread, 1 stream: too noisy" in seen.texts["li"]


def test_a_scenario_is_a_kind_of_its_own(tmp_path: Path) -> None:
    late = server(7.0, verdict="INVALID", reasons=["the p99 is 7 ms, it must lie under 5 ms"])
    offline = scenario("offline", throughput_per_s=1234.0)
    seen = drawn(tmp_path, server(4.5), late, offline, scenario("multi-stream"))
    assert seen.take == []
    table = seen.table("net-12345678: scenarios")
    assert table.column("scenario") == ["server", "server", "offline", "multi-stream"]
    assert table.column("streams") == ["2"] * 4
    assert table.column("rate") == ["310", "310", "-", "-"]
    assert table.column("throughput") == ["-", "-", "1,234", "-"]
    assert table.column("p99") == ["4.50 in time", "7.00 too late", "4.50", "4.50"]
    assert table.column("bound") == ["5.00", "5.00", "-", "-"]
    assert table.column("verdict") == ["VALID", "INVALID", "VALID", "VALID"]
    assert any("server: the p99 is 7 ms" in text for text in seen.texts["li"])


def test_the_rates_of_a_search_are_listed(tmp_path: Path) -> None:
    steps = [{"rate_per_s": 400.0, "passed": False}, {"rate_per_s": 310.0, "passed": True}]
    seen = drawn(tmp_path, server(4.5, search=steps))
    said = f"{NAME}, rates tried, in queries/s: 400 failed, 310 passed"
    assert said in seen.texts["li"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_times_of_a_scenario_are_not_compared_with_single_calls(name: str, tmp_path: Path) -> None:
    single = program(NAME, 3.0) | {"scenario": "single-stream"}
    seen = drawn(tmp_path, scenario(name), single)
    assert len(seen.table(", batch 1, on").rows) == 1
    assert seen.table(", batch 1, on").column("median") == ["3.000"]


def test_what_is_given_twice_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(sweep(*GRID)))
    other = tmp_path / "server.json"
    other.write_text(json.dumps(server(4.5)))
    documents = [read_document(path) for path in (file, other, file, other)]
    assert [each.kind for each in documents] == ["sweep", "scenario", "sweep", "scenario"]
    evidence = collect(documents)
    assert (len(evidence.sweeps), len(evidence.scenarios), len(evidence.measured)) == (1, 1, 0)
    assert evidence.names() == [f"net-12345678/{NAME}"]


@pytest.mark.parametrize("seed", range(30))
def test_what_is_missing_or_strange_never_breaks_the_page(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    swept, served = sweep(*GRID), server(4.5, search=[{"rate_per_s": 310.0, "passed": True}])
    for _ in range(draw.choice([1, 3, 12])):
        holder, key = draw.choice([*places(swept), *places(served)])
        holder[key] = draw.choice([None, "", "x", [], {}, -1, 0, 1e308, 5e-324, True, [1]])
    try:
        drawn(tmp_path, swept, served)
    except BadArtifact as error:
        assert "give a report of" in str(error)


@pytest.mark.parametrize("width", [320, 390, 1001, 1200])
def test_nothing_is_wider_than_the_screen(width: int, tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip("no chromium or chrome here; `apt-get install chromium` has one")
    drawn(tmp_path, sweep(*GRID), server(4.5), scenario("offline"), comparison())
    seen = measured(browser, (tmp_path / "page.html").read_text(), tmp_path, width)
    assert seen["scroll"] <= width and seen["wide"] == []
