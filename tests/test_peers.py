"""`just bench-peers`: other tools beside zoo-run's forms, with a tool that is made up."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compile import machine
from results.peers import environments, table
from results.peers.__main__ import at_least, chosen, row_of, run
from results.peers.cells import PRECISIONS, Cell, all_cells
from results.peers.entries import FORM, PEER, Entry, answered_peer, started_peer, worker
from results.peers.measuring import Plan, judge, limit_of, relative_error, take_times
from results.peers.peers import PEERS
from results.peers.protocol import Broken, Turns
from results.peers.report import is_wrong, ratios_of
from results.peers.roofline import roofline
from results.peers.table import Table

CELL = Cell(network="sum", precision="fp32", batch=2, threads=1, streams=1)
PLAN = Plan(rounds=6, seconds=0.3, seed=0, blocks=2)

LIMIT = 60.0

Make = Callable[..., Entry]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Three samples of 1x2x2 in a file."""
    values = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)
    np.save(tmp_path / "samples.npy", values)
    return tmp_path / "samples.npy"


@pytest.fixture
def entry(tmp_path: Path, samples: Path) -> Make:
    """Make an entry that the planted tool runs: `entry("name", FORM, seconds=0.01)`."""

    def make(name: str, kind: str = PEER, cell: Cell = CELL, **asked: Any) -> Entry:
        model = tmp_path / f"{name}.json"
        model.write_text(json.dumps(asked))
        command = worker(Path(sys.executable), "planted", model, cell)
        return Entry(
            name=name,
            kind=kind,
            start=partial(started_peer, command, samples, cell),
            answer=partial(answered_peer, command, cell, LIMIT),
        )

    return make


def measured(entries: list[Entry], samples: Path, cell: Cell = CELL) -> dict[str, Any]:
    given = np.load(samples)
    oracle = given.astype(np.float64).reshape(len(given), -1).sum(1, keepdims=True)
    return row_of(cell, entries, given, oracle, PLAN)


def columns(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in row["entries"]}


def test_a_slower_tool_is_found_slower_and_a_wrong_one_does_not_count(
    entry: Make, samples: Path
) -> None:
    entries = [
        entry("inductor", FORM, seconds=0.01, factor=1.0000001),
        entry("slower", seconds=0.03),
        entry("wrong", seconds=0.005, factor=1.5),
    ]
    row = measured(entries, samples)
    found = columns(row)
    assert len(found["slower"]["rounds_ms"]) == PLAN.rounds
    assert is_wrong(found["wrong"], row["limit"])
    assert found["wrong"]["error"] == pytest.approx(0.5)
    assert not is_wrong(found["slower"], row["limit"])
    ratios = ratios_of(row)
    assert ratios.best == "slower" and ratios.ours is not None and not ratios.below
    assert ratios.ours.interval[0] > 1.3
    assert found["slower"]["version"] == "0" and found["slower"]["settings"] == {"threads": 1}


def test_a_tool_that_refuses_or_dies_gets_a_row_with_the_reason(entry: Make, samples: Path) -> None:
    entries = [
        entry("inductor", FORM, seconds=0.01),
        entry("refuses", refuses="it has no kernels for this"),
        entry("dies", seconds=0.01, dies=14),
        Entry(name="absent", kind=PEER, reason="it is not installed"),
    ]
    found = columns(measured(entries, samples))
    assert found["refuses"]["reason"] == "it has no kernels for this"
    assert found["dies"]["reason"] == "its process ended with 3 and said nothing"
    assert found["absent"]["reason"] == "it is not installed"
    assert found["inductor"]["reason"] is None
    assert [name for name, column in found.items() if "median_ms" in column] == ["inductor"]


def test_a_tool_that_is_far_too_slow_is_measured_once(entry: Make, samples: Path) -> None:
    entries = [entry("fast", FORM, seconds=0.002), entry("slow", seconds=0.2)]
    found = columns(measured(entries, samples))
    assert len(found["fast"]["rounds_ms"]) == PLAN.rounds
    assert len(found["slow"]["rounds_ms"]) == 1 and found["slow"]["interval_ms"] is None


def test_a_tool_that_does_not_answer_in_time_gets_a_row_with_the_reason(
    tmp_path: Path, samples: Path
) -> None:
    (tmp_path / "slow.json").write_text('{"seconds": 60}')
    command = worker(Path(sys.executable), "planted", tmp_path / "slow.json", CELL)
    slow = Entry(name="slow", kind=PEER, answer=partial(answered_peer, command, CELL, 0.5))
    judge([slow], np.load(samples), np.zeros((3, 1)), batch=1)
    assert slow.reason == "it did not answer 3 samples in 0.5 s"


def test_streams_count_calls_over_the_time(entry: Make, samples: Path) -> None:
    cell = Cell(network="sum", precision="fp32", batch=1, threads=2, streams=2)
    taker = entry("two", cell=cell, seconds=0.02).start
    assert taker is not None
    turns = taker()
    (each,) = turns.turn(0.5)
    assert each < 19e6  # two sleep at the same time
    assert turns.end()["output_stable"]


def test_each_chunk_is_answered_and_an_answer_of_another_shape_is_wrong(
    entry: Make, samples: Path
) -> None:
    given = np.load(samples)
    oracle = np.zeros((3, 2))
    one = entry("one")
    judge([one], given, oracle, batch=2)
    assert one.facts["error"] is None and is_wrong(one.facts, None)
    assert relative_error(np.array([[np.nan]]), np.ones((1, 1))) is None
    assert relative_error(np.array([[1.1]]), np.ones((1, 1))) == pytest.approx(0.1)


def test_the_limit_is_that_of_the_worst_form() -> None:
    entries = [
        Entry(name="a", kind=FORM, facts={"error": 1e-7}),
        Entry(name="b", kind=FORM, facts={"error": 3e-7}),
        Entry(name="c", kind=PEER, facts={"error": 1.0}),
    ]
    assert limit_of(entries, "fp32") == pytest.approx(6e-7)
    assert limit_of(entries[2:], "fp32") is None


def test_a_process_that_talks_nonsense_is_broken() -> None:
    with pytest.raises(Broken, match="ended with 0"):
        Turns([sys.executable, "-c", "print('hello')"], {})
    with pytest.raises(Broken, match="ZeroDivisionError: division by zero"):
        Turns([sys.executable, "-c", "1 / 0"], {})


def test_the_order_of_the_turns_depends_on_the_seed_alone() -> None:
    def order(seed: int) -> list[str]:
        taken: list[str] = []

        class Noting:
            call_ns = 1

            def __init__(self, name: str) -> None:
                self._name = name

            def turn(self, seconds: float) -> list[int]:
                taken.append(self._name)
                return [1]

            def end(self) -> dict[str, Any]:
                return {"output_stable": True, "flaw": ""}

            def close(self) -> None:
                pass

        entries = [
            Entry(name=name, kind=PEER, start=partial(Noting, name)) for name in ("a", "b", "c")
        ]
        take_times(entries, Plan(rounds=6, seconds=1, seed=seed, blocks=5))
        return taken

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == ["a"] * 30 + ["b"] * 30 + ["c"] * 30


def test_a_run_stops_between_cells_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "commit", lambda sources: "c1")
    cells = all_cells()[:3]
    done: list[Cell] = []

    def measure(cell: Cell) -> dict[str, Any]:
        done.append(cell)
        return {**vars(cell), "entries": []}

    run(Table.newest(tmp_path), cells, time.monotonic() - 1, measure)
    assert done == []
    run(Table.newest(tmp_path), cells[:2], time.monotonic() + 60, measure)
    (file,) = tmp_path.glob("peers-*.jsonl")
    file.write_text(file.read_text() + '{"network": "cut o')
    run(Table.newest(tmp_path), cells[:2], time.monotonic() + 60, measure)
    assert done == cells[:2]
    assert len(Table.newest(tmp_path).rows) == 2
    monkeypatch.setattr(table, "commit", lambda sources: "c2")
    run(Table.newest(tmp_path), cells[:1], time.monotonic() + 60, measure)
    assert done == [*cells[:2], cells[0]]


def test_cells_are_chosen_by_name_and_none_is_twice() -> None:
    cells = all_cells()
    assert len({cell.key for cell in cells}) == len(cells) >= 7
    assert {cell.precision for cell in cells} <= set(PRECISIONS)
    lists = {"network": ["resnet18"], "precision": [], "batch": [], "threads": [], "streams": []}
    (only,) = chosen(cells, argparse.Namespace(**lists))
    assert str(only).startswith("resnet18 fp32 b1, ")
    with pytest.raises(argparse.ArgumentTypeError, match="too few"):
        at_least(6)("5")


def test_each_tool_has_a_file_or_a_reason_at_each_precision() -> None:
    for peer in PEERS:
        assert peer.environment in environments.ENVIRONMENTS
        for precision in PRECISIONS:
            assert (precision in peer.models) is not (precision in peer.reasons), peer.name


def test_an_environment_that_cannot_be_made_leaves_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    assert "is not there" in str(environments.lacking("tvm"))
    monkeypatch.setattr(environments, "_installed", lambda name: "it cannot be installed: no net")
    assert environments.make("tvm") == "it cannot be installed: no net"
    assert environments.lacking("tvm") == "it cannot be installed: no net"
    monkeypatch.setattr(environments, "_installed", lambda name: None)
    assert environments.make("tvm") is None and environments.lacking("tvm") is None
    monkeypatch.setattr(machine, "cpu_flags", frozenset)
    assert environments.make("zentorch") == "this CPU has no avx512f and no avx512bw"


def test_the_roofline_is_a_number_for_each_precision_that_the_cpu_has() -> None:
    found = roofline(1, extent=64, copied=2**16)
    assert found["copy_gb_s"] > 0 and found["gflops"]["fp32"] > 0 and found["gflops"]["int8"] > 0
    has_bf16 = machine.emulated("bf16", "cpu") is None
    assert (found["gflops"]["bf16"] is not None) is has_bf16
