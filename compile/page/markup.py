"""HTML and SVG from Python: every text is escaped, unless it is markup already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from compile.errors import printable

MISSING = "-"
"""In a cell whose figure is not recorded."""

_EMPTY = {"meta", "br", "wbr"}
_SHAPES = {"line", "circle", "path"}
"""Without content they are closed at once, as SVG wants it."""


class Markup(str):
    """Text that is markup. Only the functions of this file make it from other text."""

    __slots__ = ()


Content = str | Markup


def text(content: Content) -> Markup:
    """Markup as it is; other text escaped, in one line, without what turns or breaks a line."""
    return content if isinstance(content, Markup) else Markup(escape(printable(content)))


def join(parts: Iterable[Content], between: str = "") -> Markup:
    """All parts, one after the other."""
    return Markup(between.join(map(text, parts)))


def tag(name: str, *children: Content, **attributes: str | float | None) -> Markup:
    """`<name attributes>children</name>`.

    An attribute of None is left out. `class_` means class, and `aria_label` aria-label.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            shown = f"{value:.2f}" if isinstance(value, float) else value
            words.append(f'{key.rstrip("_").replace("_", "-")}="{text(str(shown))}"')
    head = f"<{' '.join(words)}>"
    if name in _SHAPES and not children:
        return Markup(f"{head[:-1]}/>")
    return Markup(head if name in _EMPTY else f"{head}{join(children)}</{name}>")


def breakable(name: str) -> Markup:
    """A long name that may be broken after `-`, `/`, `+` and `_`."""
    safe = text(name)
    for mark in "-/+_":
        safe = Markup(safe.replace(mark, f"{mark}<wbr>"))
    return safe


def prose(said: Content) -> Markup:
    """A text in which `a command` stands between backticks."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", text(said)))


def sentence(said: Content, kind: str | None = None) -> Markup:
    """A paragraph of the page, of a class of the style sheet."""
    return tag("p", prose(said), class_=kind)


def items(said: Iterable[Content]) -> Markup:
    """A list; nothing if it is empty. What is said twice is shown once."""
    shown = [tag("li", prose(each)) for each in dict.fromkeys(said)]
    return tag("ul", *shown) if shown else Markup("")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    unit: str = ""
    """Shown behind the name."""
    words: bool = False
    """Whether its cells are words, which are aligned left. Numbers are aligned right."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell that has a tone: `good`, `bad`, `doubt` or `faint`."""

    content: Content
    tone: str


def table(
    caption: Content, columns: Sequence[Column], rows: Iterable[Sequence[Content | Cell]]
) -> Markup:
    """A table. The first cell of a row names the row. On a narrow screen each row becomes a card.

    The roles say that it is a table even where the cells are shown as a card.
    """
    heads = (
        tag(
            "th",
            column.name,
            tag("small", f" {column.unit}") if column.unit else "",
            scope="col",
            role="columnheader",
            class_="words" if column.words else None,
        )
        for column in columns
    )
    body = (_row(columns, row) for row in rows)
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table",
    )


def _row(columns: Sequence[Column], cells: Sequence[Content | Cell]) -> Markup:
    made = []
    for index, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        content, tone = (cell.content, cell.tone) if isinstance(cell, Cell) else (cell, "")
        label = f"{column.name} {column.unit}".rstrip()
        classes = " ".join(filter(None, ("words" if column.words else "", tone))) or None
        if index == 0:
            made.append(tag("th", content, scope="row", role="rowheader", class_="words"))
        else:
            inner = tag("span", content)
            made.append(tag("td", inner, role="cell", class_=classes, data_label=label))
    return tag("tr", *made, role="row")


def figure(drawing: Markup, caption: Content) -> Markup:
    """A drawing with its caption."""
    return tag("figure", drawing, tag("figcaption", caption))


def section(title: str, anchor: str, *children: Content) -> Markup:
    """A section with a heading."""
    return tag("section", tag("h2", title, id=anchor), *children, aria_labelledby=anchor)
