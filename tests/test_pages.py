"""The pages and the docstrings: lines fit, links resolve, and words are those of plain English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.layout import ROOT, sources

PAGES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/artifact.md",
    "docs/glossary.md",
    "docs/guide.md",
    "docs/log.md",
    "docs/parity.md",
    "results/README.md",
)
SOURCES = [path.relative_to(ROOT).as_posix() for path in sources(".py")]

MAX_COLUMNS = 120

PLAIN = {
    r"(?<!there )\b(is|are) no (?!longer|more|fewer)": "is not a",
    r"\brightly\b": "correctly",
    r"\b(but|save) for (the|a|its|what)\b": "except for",
    r"\b(go|goes|going) on (with|where|as)\b": "resume",
    r"\ba training(?= (is|has|that|may|saves|can)\b|[.,;:])": "a training run",
    r"\bmend(s|ed|ing)?\b": "repair",
    r"\bwithout a word\b": "silently",
}
"""What a native reader stumbles over -> what to write."""


def prose(text: str) -> str:
    """The text in one line, without code blocks and the marks of comments."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.sub(r"[\s#]+", " ", text)


def word_faults(text: str, name: str) -> list[str]:
    """Each phrase of `text` that PLAIN has a better one for."""
    return [
        f"{name}: '...{match[0]}...': write '{better}'"
        for pattern, better in PLAIN.items()
        for match in re.finditer(pattern, prose(text), re.IGNORECASE)
    ]


def wide_lines(text: str, name: str) -> list[str]:
    """The lines of a page that are too long to read side by side with code."""
    return [
        f"{name}:{number}: {len(line)} columns"
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > MAX_COLUMNS
    ]


def anchors(text: str) -> set[str]:
    """The names by which links find the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def link_faults(text: str, page: Path) -> list[str]:
    """The links of a page to files or headings that are not there."""
    faults = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = link.partition("#")
        target = (page.parent / place) if place else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists():
            faults.append(f"{page.name}: {link} leads nowhere")
        elif anchor and anchor not in anchors(target.read_text()):
            faults.append(f"{page.name}: {link} has no such heading")
    return faults


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_easy_to_read(name: str) -> None:
    text = (ROOT / name).read_text()
    assert wide_lines(text, name) == []
    assert link_faults(text, ROOT / name) == []
    assert word_faults(text, name) == []


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_uses_plain_words(name: str) -> None:
    assert word_faults((ROOT / name).read_text(), name) == []


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    words = [match.lower() for match in re.findall(r"^- \*\*([^*]+)\*\*", text, re.MULTILINE)]
    assert len(words) >= 30
    assert words == sorted(set(words))


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("a folder that is no\nartifact", "is not a"),
        ("# what was read,\n# and rightly", "correctly"),
        ("all but for the results", "except for"),
        ("it goes on where it was", "resume"),
        ("saves a training, then", "a training run"),
        ("mend it or move it", "repair"),
    ],
)
def test_a_private_word_is_found(text: str, better: str) -> None:
    (fault,) = word_faults(text, "x")
    assert fault.endswith(f"write '{better}'")


def test_plain_words_pass() -> None:
    text = "There is no run. It is no longer here. A training run resumes. ```\nis no code\n```"
    assert word_faults(text, "x") == []


def test_a_wide_line_is_found() -> None:
    assert wide_lines("x" * 120 + "\n" + "x" * 121, "p") == ["p:2: 121 columns"]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One, two\n\n[a](#one-two) [b](page.md#one-two) [c](https://x.org/)\n")
    assert link_faults(page.read_text(), page) == []
    assert link_faults("[a](gone.md)", page) == ["page.md: gone.md leads nowhere"]
    assert link_faults("[a](#three)", page) == ["page.md: #three has no such heading"]
