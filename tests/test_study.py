"""Studies: each runs, says what it found, draws it, and can say that a claim did not hold."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from zoo.cli import _run
from zoo.data import load
from zoo.errors import BadArtifact, UsageError
from zoo.models.plain import PlainBlock
from zoo.models.resnet import BasicBlock
from zoo.study import STUDIES, find_study
from zoo.study.curves import Curve, from_csv, to_csv
from zoo.study.degradation import _outcome
from zoo.study.identity import learn
from zoo.study.lab import FAILED, HELD, OPEN, Lab, above, interval, not_above, spread
from zoo.study.publishing import publish, redraw


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The smallest setting that every study runs in."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("study")
    images = load("synthetic:4:64", size=8, channels=1)
    yield Lab(folder=folder, seeds=2, epochs=1, _data=images)
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_and_publishes(name: str, lab: Lab, tmp_path: Path) -> None:
    experiment = find_study(name)
    assert len(experiment.SUMMARY) < 68, "a line of `zoo study`"
    report = experiment.run(lab)
    files = {path.name for path in publish(report, name, tmp_path)}
    assert files == {"figure.svg", "curves.csv", "table.csv", "report.json", "report.md"}
    plain = json.loads((tmp_path / "report.json").read_text())
    assert {claim["verdict"] for claim in plain["claims"]} <= {HELD, FAILED, OPEN}
    assert len((tmp_path / "table.csv").read_text().splitlines()) == len(report.rows) + 1
    for claim in plain["claims"]:
        assert claim["paper"] in (tmp_path / "report.md").read_text()
    once = (tmp_path / "figure.svg").read_bytes()
    (tmp_path / "figure.svg").unlink()
    assert redraw(name, tmp_path).read_bytes() == once


RESULTS = Path(__file__).parent.parent / "results"


@pytest.mark.parametrize("name", STUDIES)
def test_the_published_pictures_are_drawn_from_the_published_curves(
    name: str, tmp_path: Path
) -> None:
    """Matplotlib's version may move a line by a hair, so only the message is compared."""
    (folder,) = RESULTS.glob(f"study-{name}-*")
    shutil.copy(folder / "curves.csv", tmp_path)
    assert _run(["study", name, "--redraw", str(tmp_path)]) == 0
    drawn, published = (_texts(place / "figure.svg") for place in (tmp_path, folder))
    assert drawn == published
    assert len(drawn) > 5


def _texts(picture: Path) -> list[str]:
    """Matplotlib writes each text as a comment before its outline."""
    return re.findall("<!-- (.*?) -->", picture.read_text(), re.DOTALL)


def test_curves_are_read_as_they_were_written() -> None:
    curves = [
        Curve(panel="a", name="plain, at the start", x=(1.0, 2.0), y=(0.5, 1e-15)),
        Curve(panel="b", name="plain, at the start", x=(1.0,), y=(float("inf"),)),
    ]
    assert from_csv(to_csv(curves), "c.csv") == curves


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its first line is not 'panel,curve,x,y'"),
        ("panel,curve,x,y\na,b,1\n", "line 2 is not a point of a curve"),
        ("panel,curve,x,y\na,b,1,2\na,b,x,2\n", "line 3 is not a point of a curve"),
        ("panel,curve,x,y\na,b,1,2\n", "does not have the curves of `zoo study identity`"),
    ],
)
def test_damaged_curves_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(BadArtifact, match=re.escape(reason)):
        redraw("identity", tmp_path)
    assert not (tmp_path / "figure.svg").exists()


def test_redrawing_needs_a_study_and_its_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["study", "--redraw", str(tmp_path)]) == 2
    assert _run(["study", "identity", "--redraw", str(tmp_path)]) == 3
    assert "`zoo study identity` writes its curves" in capsys.readouterr().err


def test_a_network_is_trained_once(lab: Lab) -> None:
    first = lab.train("resnet20", 0)
    said: list[str] = []
    lab.say = said.append
    assert lab.train("resnet20", 0).folder == first.folder
    assert said == []
    assert lab.train("resnet20", 0, shortcut="B").folder != first.folder
    assert said == ["training resnet20 B seed 0"]


def test_errors_are_those_of_the_run(lab: Lab) -> None:
    outcome = _outcome(lab, "resnet20", 0)
    results = lab.train("resnet20", 0).config.results
    assert results is not None
    assert outcome.test_error == pytest.approx(100 * (1 - results.test_accuracy))
    assert len(outcome.curve) == 1


def test_the_interval_is_students() -> None:
    """1, 2, 3: mean 2, deviation 1, and t(0.975, 2) is 4.3027."""
    half = 4.3027 / 3**0.5
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2 - half, 2 + half), abs=1e-4)
    assert spread([1.0, 2.0, 3.0], " points") == "2 points (-0.484 to 4.48, n = 3)"
    assert spread([1.5]) == "1.5 (n = 1)"


@pytest.mark.parametrize(
    ("values", "claimed_above", "claimed_not_above"),
    [
        ([5.0, 6.0, 5.5], HELD, FAILED),
        ([-5.0, -6.0, -5.5], FAILED, HELD),
        ([-1.0, 1.0, 0.2], OPEN, OPEN),
        ([0.0, 0.0, 0.0], OPEN, HELD),
        ([7.0], OPEN, OPEN),
    ],
)
def test_a_verdict_needs_more_than_scatter(
    values: list[float], claimed_above: str, claimed_not_above: str
) -> None:
    assert above(values) == claimed_above
    assert not_above(values, margin=1.0) == claimed_not_above


def test_units_learn_the_same_noise_and_do_learn() -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    plain, residual = (learn(block, 0, 40) for block in (PlainBlock, BasicBlock))
    assert plain[-1] < plain[0] / 2
    assert residual[-1] < residual[0] / 2
    assert learn(PlainBlock, 0, 3) == plain[:3]
    assert torch.equal(torch.random.get_rng_state(), state), "the global random state is kept"


def test_an_unknown_study_is_named() -> None:
    with pytest.raises(UsageError, match="unknown study 'depth'; choose one of: degradation, "):
        find_study("depth")
