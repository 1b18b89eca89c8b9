"""zoo compare: what it says of artifacts side by side, and of one beside an older report."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import zoo
from compile.errors import BadArtifact, UsageError
from compile.measure.compare import hold, read_baseline
from compile.measure.defaults import ROUNDS
from compile.runner import call_runner
from zoo.cli import _run
from zoo.cli.compare import share

QUICK = ["--rounds", "6", "--duration", "0.1", "--threads", "1"]


def program(name: str, ms: float, ratio: float | None = None) -> dict[str, Any]:
    """The entry of a report: an interval of one per cent to each side."""
    entry = {
        "model": "net",
        "artifact": f"artifacts/net-12345678/{name}",
        "batch": 1,
        "latency_ms": {"median": ms, "median_interval": [0.99 * ms, 1.01 * ms]},
        "ratio": None,
        "conditions": {"cpu": "a CPU", "threads": 2},
    }
    if ratio is not None:
        entry["ratio"] = {"value": ratio, "interval": [0.99 * ratio, 1.01 * ratio]}
    return entry


def report(*programs: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "comparison", "programs": [*programs]}


@pytest.mark.parametrize(
    ("now", "regressed"), [(1.0, False), (1.04, False), (1.06, False), (1.08, True), (0.5, False)]
)
def test_only_an_interval_beyond_the_limit_is_a_regression(now: float, regressed: bool) -> None:
    then = report(program("a", 10.0), program("b", 20.0, 2.0))
    changes, relative = hold(report(program("a", 50.0), program("b", 9.0, 2 * now)), then)
    assert [change.regressed for change in changes] == [regressed]
    assert changes[0].value == pytest.approx(now)
    assert "over the time of net/a" in relative  # the machine's own speed cancels out


def test_one_program_is_held_to_its_own_time() -> None:
    then = report(program("a", 10.0), program("b", 20.0, 2.0))
    (change,), relative = hold(report(program("b", 24.0)), then)
    assert change.regressed and change.value == pytest.approx(1.2)
    assert relative == "each by itself"
    assert not hold(report(program("b", 24.0)), then, limit=0.3)[0][0].regressed


@pytest.mark.parametrize("what", ["cpu", "threads"])
def test_other_conditions_are_refused(what: str) -> None:
    then = report(program("a", 10.0))
    now = copy.deepcopy(then)
    now["programs"][0]["conditions"][what] = 1
    with pytest.raises(BadArtifact, match=f"the baseline was taken with {what}"):
        hold(now, then)


def test_another_batch_and_an_unknown_program_are_refused() -> None:
    then = report(program("a", 10.0))
    with pytest.raises(BadArtifact, match="batch 1, this run with 8"):
        hold(report({**program("a", 10.0), "batch": 8}), then)
    with pytest.raises(UsageError, match=r"has no net/b; it has: net/a"):
        hold(report(program("b", 10.0)), then)


def test_what_is_no_baseline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="No such file"):
        read_baseline(tmp_path / "old.json")
    for text in ("", "[]", '{"kind": "other"}', "\x00"):
        (tmp_path / "old.json").write_text(text)
        with pytest.raises(BadArtifact, match="is not a report of a comparison"):
            read_baseline(tmp_path / "old.json")


def test_zoo_run_has_the_same_default(runner: Path) -> None:
    assert f"in so many rounds ({ROUNDS})" in call_runner(runner, ["--help"])


def test_shares() -> None:
    assert share("5%") == share(" 5 ") == 0.05 and share("0%") == 0
    for text in ("-1%", "x", "nan", "", "5%%", "1001%"):
        with pytest.raises(UsageError, match="must be a percentage"):
            share(text)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small network, and the same with twenty times the work in front."""
    root = tmp_path_factory.mktemp("compare")
    fast = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)).eval()
    work = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(20)]
    slow = nn.Sequential(*work, nn.Flatten(), nn.Linear(3 * 32 * 32, 5)).eval()
    first, second = (
        zoo.compile(each, shape=(3, 32, 32), name=name, backend="torchscript", root=root).path
        for each, name in ((fast, "fast"), (slow, "slow"))
    )
    return first, second


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of the command."""
    capfd.readouterr()
    code = _run(["compare", *words])
    out, err = capfd.readouterr()
    return code, out, err


def test_the_slower_one_is_named(
    two: tuple[Path, Path], runner: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = [*QUICK, "--runner", str(runner)]
    code, out, err = run(capfd, *map(str, two), *options, "--json")
    assert code == 0, err
    slower = json.loads(out)["programs"][1]["ratio"]
    assert slower["verdict"] == "slower" and slower["interval"][0] > 1.2
    old = tmp_path / "old.json"
    old.write_text(out)
    code, out, _ = run(capfd, *map(str, two), *options, "--baseline", str(old), "--json")
    assert json.loads(out)["baseline"]["changes"][0]["program"].startswith("slow/torchscript")
    document = json.loads(old.read_text())
    document["programs"][1]["ratio"] = {"value": 0.1, "interval": [0.1, 0.1]}
    old.write_text(json.dumps(document))
    code, out, err = run(capfd, *map(str, two), *options, "--baseline", str(old))
    assert code == 1
    assert err.strip().splitlines()[-1].endswith("at most 1.05 is allowed")
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines()), out


def test_one_artifact_is_not_compared(
    two: tuple[Path, Path], runner: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capfd, str(two[0]), "--runner", str(runner))
    assert code == 2 and "takes two artifacts or more" in err


def test_the_function_compares_too(two: tuple[Path, Path], runner: Path) -> None:
    found = zoo.compare(*two, rounds=6, duration=0.1, threads=1, runner=runner)
    assert [each["model"] for each in found["programs"]] == ["fast", "slow"]
    with pytest.raises(UsageError, match="two artifacts or more"):
        zoo.compare(runner=runner)
