"""What zoo report refuses, and the pieces of its drawings."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

import zoo
from compile.page.drawing import axis, spread, tick
from compile.page.markup import Markup, breakable, prose, tag
from compile.page.naming import name_of_manifest, name_of_path, task_of
from compile.page.sizes import aligned
from tests.support.layout import ROOT
from zoo.cli import _run
from zoo.errors import UsageError

DATA = ROOT / "tests" / "data" / "page"
CHECK = str(DATA / "check.json")


def refused(capfd: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """The one line with which zoo report refuses."""
    capfd.readouterr()
    assert _run(["report", *map(str, arguments)]) == code
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("zoo: ")
    return err


FOREIGN = {
    "no JSON": b"\x89PNG",
    "a list": b"[1, 2]",
    "another tool's": b'{"mean": 3.2, "stddev": 0.1}',
    "a key twice": b'{"reports": [], "reports": [], "errors": []}',
    "not a number": b'{"reports": [NaN], "errors": []}',
    "a manifest of a later major": b'{"schema": "3.0", "model": 1, "parity": 1, "programs": 1, '
    b'"build": 1}',
    "half a manifest": b'{"schema": "2.0", "model": {}, "parity": {}, "programs": [], "build": {}}',
    "nothing": b"",
    "a report of inference": b'{"schema": "1.0", "artifact": "a", "run": {"rows": 1, "top1": []}}',
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_file_is_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    foreign, page = tmp_path / "foreign.json", tmp_path / "page.html"
    foreign.write_bytes(FOREIGN[name])
    assert "foreign.json" in refused(capfd, 3, CHECK, foreign, "--html", page) or "manifest" in name
    assert not page.exists() and os.listdir(tmp_path) == ["foreign.json"]


def test_a_file_that_cannot_be_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = ["--html", tmp_path / "page.html"]
    assert "is not there" in refused(capfd, 2, tmp_path / "gone.json", *page)
    assert "not a regular file" in refused(capfd, 3, tmp_path, *page)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(capfd, 3, tmp_path / "pipe", *page)
    assert "no file given" in refused(capfd, 2, *page)
    with pytest.raises(UsageError, match="no file given"):
        zoo.report()


def test_only_a_page_is_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "notes.html"
    other.write_text("<!doctype html>\n<p>mine")
    assert "is not a page of zoo report" in refused(capfd, 2, CHECK, "--html", other)
    assert other.read_text() == "<!doctype html>\n<p>mine"
    (tmp_path / "link.html").symlink_to(other)
    assert "symbolic link" in refused(capfd, 2, CHECK, "--html", tmp_path / "link.html")
    assert "is not a folder" in refused(capfd, 2, CHECK, "--html", tmp_path / "no" / "page.html")
    (tmp_path / "manifest.sha256").write_text("")
    assert "never changes" in refused(capfd, 2, CHECK, "--html", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_check_alone_makes_a_page_without_measurements(tmp_path: Path) -> None:
    page = zoo.report(CHECK, html=tmp_path / "page.html").read_text()
    assert "There is no measurement in these files" in page and "PASSED" in page
    assert "<svg" not in page and ">Latency<" not in page


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "<b>", Markup("<i>")) == "<p>&lt;b&gt;<i></p>"
    assert tag("p", title='">x', class_=None) == '<p title="&quot;&gt;x"></p>'
    assert prose("run `zoo <x>`") == "run <code>zoo &lt;x&gt;</code>"
    assert breakable("a-b<c") == "a-<wbr>b&lt;c"
    assert tag("p", "a\u202eb\nc") == "<p>a?b?c</p>"


def test_names_that_documents_agree_on() -> None:
    name = "resnet18-19502f9e/openvino-int8-b1-cpu-3x32x32"
    assert name_of_path(f"/any/where/{name}", {}) == name
    report = {"model": "resnet18", "backend": "openvino", "precision": "int8", "batch": 1}
    assert name_of_path(".", report) == "resnet18/openvino-int8-b1-cpu"
    manifest: dict[str, Any] = json.loads((DATA / "inspect.json").read_text())
    assert name_of_manifest(manifest, Path("x.json"), {name}) == name
    assert name_of_manifest(manifest, Path("x.json"), set()) == name.removesuffix("-3x32x32")
    assert task_of(name) == "resnet18-19502f9e 3x32x32"
    assert task_of("net-19502f9e/inductor-fp32-b1-64-cpu-x86-64-v3-u8-c3+c4") == (
        "net-19502f9e u8-c3+c4"
    )


@pytest.mark.parametrize("low", [1e-9, 0.003, 0.9, 1, 37, 5e6])
@pytest.mark.parametrize("factor", [1.0001, 1.3, 4, 6, 80, 1e4, 1e9])
def test_an_axis_has_ticks_in_their_places(low: float, factor: float) -> None:
    scale = axis(low, low * factor, 10.0, 300.0)
    assert scale.at(low) == 10 and scale.at(low * factor) == pytest.approx(300)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 6 and ticks == sorted(ticks)
    places = [scale.at(value) for value in ticks]
    assert places == sorted(set(places)) and min(places) >= 10 and max(places) <= 300.001
    middle = math.sqrt(factor) * low if scale.log else low * (1 + factor) / 2
    assert scale.at(middle) == pytest.approx(155)


def test_figures_and_names_stand_under_each_other() -> None:
    assert aligned([12.3456, None, 1.0]) == ["12.35", "-", "1.00"]
    assert aligned([0.00123, 7.0]) == ["0.0012", "7.0000"]
    assert [tick(each) for each in (0.5, 20, 10000, 1e-6)] == ["0.5", "20", "10,000", "1e-6"]
    assert spread([5, 5, 5, 90], 10, 0, 100) == [5, 15, 25, 90]
    assert spread([99, 98], 10, 0, 100) == [100, 90]
