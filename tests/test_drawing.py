"""The pictures: a message as the title, and one size of text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from compile.bisect.points import Point
from compile.bisect.search import Bisection
from zoo.cli.bisect_figure import _figure, draw
from zoo.study.drawing import TEXT_SIZE, moved_apart

POINTS = [
    Point(name=name, error=error, eager=1e-7, allowed=3e-7, ratio=error / 3e-7)
    for name, error in (("conv1", 1e-7), ("layer1.0", 1e-6), ("fc", 2e-6))
]


def report(culprit: str | None, inside: str | None, *, passed: bool = False) -> Bisection:
    return Bisection(
        artifact="net-0123/onnx-fp32-b1-cpu",
        backend="onnx",
        precision="fp32",
        batch="1",
        output=None,
        blocks=[point.name for point in POINTS],
        points=POINTS,
        culprit=culprit,
        inside=inside,
        passed=passed,
        reason="",
    )


@pytest.mark.parametrize(
    ("found", "title"),
    [
        (report("layer1.0", "layer1.0.conv2"), "onnx fp32 goes wrong in layer1.0.conv2"),
        (report("layer1.0", None), "onnx fp32 goes wrong in layer1.0"),
        (report(None, None), "onnx fp32 is wrong, in no single block"),
        (report(None, None, passed=True), "onnx fp32 is nowhere more wrong than allowed"),
    ],
)
def test_the_title_of_a_bisection_says_what_it_found(found: Bisection, title: str) -> None:
    assert _figure(found).get_suptitle() == title


def test_all_text_has_one_size(tmp_path: Path) -> None:
    from matplotlib.text import Text

    texts = _figure(report("layer1.0", None)).findobj(Text)
    assert {text.get_fontsize() for text in texts if text.get_text()} == {TEXT_SIZE}
    draw(report("layer1.0", None), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (960, 600)


def test_a_line_is_named_at_its_last_number() -> None:
    """Zero has no place on a logarithmic axis; a line of nothing else is not there."""
    last = replace(POINTS[-1], error=0.0, eager=0.0, allowed=3e-7)
    nothing = [replace(point, eager=0.0) for point in POINTS[:-1]]
    found = replace(report(None, None, passed=True), points=[*nothing, last])
    (axis,) = _figure(found).axes
    places = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert places.keys() == {"onnx fp32", "allowed"}
    assert places["onnx fp32"] > places["allowed"]


def test_names_beside_lines_do_not_touch() -> None:
    assert moved_apart([5.0, 100.0], gap=10) == [5.0, 100.0]
    assert moved_apart([100.0, 5.0, 7.0], gap=10) == [100.0, 1.0, 11.0]
    assert moved_apart([0.0, 9.0, 20.0], gap=10) == [-0.5, 9.5, 20.0]
    assert moved_apart([0.0, 9.0, 18.0], gap=10) == [-1.0, 9.0, 19.0]
    assert moved_apart([], gap=10) == []
