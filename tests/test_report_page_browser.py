"""The page of zoo report in a real browser: no width cuts anything off, nor does paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile.page.page import write_page
from tests.support.browser import as_printed, chromium, find_browser, measured
from tests.test_report_page import DATA, NAMES

PAPER = 1032
"""The width of A4 across, less its margins, in CSS pixels."""


@pytest.fixture(scope="module")
def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip("no chromium or chrome here; `apt-get install chromium` has one")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with long names, several tasks, and verdicts of all kinds."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page([DATA / f"{name}.json" for name in NAMES], path)
    return path


@pytest.mark.parametrize("width", [320, 360, 1000, 1001, 1280, 1920])
def test_nothing_is_wider_than_the_screen(
    width: int, browser: str, page: Path, tmp_path: Path
) -> None:
    seen = measured(browser, page.read_text(), tmp_path, width)
    assert seen["client"] == width and seen["scroll"] <= width
    assert seen["wide"] == []
    assert seen["heading"] == ("absolute" if width <= 1000 else "static")  # cards, or tables
    assert seen["paper"] == "rgb(255, 255, 255)"


def test_a_wide_table_would_be_found(browser: str, page: Path, tmp_path: Path) -> None:
    wide = page.read_text().replace("<main>", f"<main><h3>{'x' * 9}</h3><svg width='700'/>", 1)
    fixed = wide.replace("svg { display: block; width: 100%;", "svg { display: block;")
    seen = measured(browser, as_printed(fixed), tmp_path, 360)
    assert seen["scroll"] > 360 and seen["wide"]


def test_a_dark_screen_gets_a_dark_page(browser: str, page: Path, tmp_path: Path) -> None:
    assert measured(browser, page.read_text(), tmp_path, 360, dark=True)["paper"] == (
        "rgb(20, 22, 26)"
    )


def test_nothing_is_cut_on_paper(browser: str, page: Path, tmp_path: Path) -> None:
    seen = measured(browser, as_printed(page.read_text()), tmp_path, PAPER, dark=True)
    assert seen["scroll"] <= PAPER and seen["wide"] == []
    assert seen["paper"] == "rgb(255, 255, 255)" and seen["heading"] == "static"
    paper = tmp_path / "page.pdf"
    chromium(browser, tmp_path, f"--print-to-pdf={paper}", page.as_uri())
    content = paper.read_bytes()
    assert content.startswith(b"%PDF-")
    assert 2 <= content.count(b"/Type /Page\n") <= 12


def test_the_browser_refuses_what_slips_in(browser: str, page: Path, tmp_path: Path) -> None:
    """The policy holds where escaping would not: a script in the page does not run."""
    evil = tmp_path / "evil.html"
    script = "<script>document.title = 'it ran'</script>"
    evil.write_text(page.read_text().replace("</h1>", f"</h1>{script}"))
    assert "<title>it ran" not in chromium(browser, tmp_path, "--dump-dom", evil.as_uri())
    open_to_all = evil.read_text().replace("Content-Security-Policy", "x")
    evil.write_text(open_to_all)
    assert "<title>it ran" in chromium(browser, tmp_path, "--dump-dom", evil.as_uri())
