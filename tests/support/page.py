"""A page of zoo report as a test sees it: well-formed, with its tables, headings and drawings."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "wbr"}
_PARTS = "html head title style body header main footer nav section div h1 h2 h3 p a ul li dl dt dd"
_INSIDE = "code span small strong figure figcaption svg desc text line circle path"
_TABLES = "table caption thead tbody tr th td"
ALLOWED = VOID | {*_PARTS.split(), *_INSIDE.split(), *_TABLES.split()}
"""Nothing of these can load or run anything."""


@dataclass(kw_only=True)
class Table:
    """A table of the page, as text."""

    caption: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        """The cells below a heading, which may have a unit."""
        index = next(i for i, each in enumerate(self.columns) if each.startswith(name))
        return [row[index] for row in self.rows]


class Seen(HTMLParser):
    """What a page holds. Its faults are gathered while it is read."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.faults: list[str] = []
        self.tables: list[Table] = []
        self.texts: dict[str, list[str]] = {}
        """Tag -> the text inside each of them."""
        self.attributes: dict[str, list[dict[str, str]]] = {}
        self._open: list[tuple[str, int]] = []
        self._pieces: list[str] = []
        self.feed(source)
        self.close()
        self.faults += [f"<{name}> is not closed" for name, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.attributes.setdefault(tag, []).append(given)
        if tag not in ALLOWED:
            self.faults.append(f"<{tag}> is not allowed")
        for key, value in given.items():
            if key.startswith("on") or key in ("style", "src", "srcdoc"):
                self.faults.append(f"<{tag} {key}> is not allowed")
            if key == "href" and not value.startswith("#"):
                self.faults.append(f"a link to {value}")
        if tag == "table":
            self.tables.append(Table())
        if tag == "tr":
            self.tables[-1].rows.append([])
        if tag not in VOID:
            self._open.append((tag, len(self._pieces)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.faults.append(f"</{tag}> closes nothing")
            return
        _, start = self._open.pop()
        text = " ".join("".join(self._pieces[start:]).split())
        self.texts.setdefault(tag, []).append(text)
        if tag == "caption":
            self.tables[-1].caption = text
        elif tag in ("th", "td"):
            self.tables[-1].rows[-1].append(text)
        elif tag == "thead":
            self.tables[-1].columns = self.tables[-1].rows.pop()

    def handle_data(self, data: str) -> None:
        self._pieces.append(data)

    def table(self, words: str) -> Table:
        """The table whose caption has these words."""
        return next(table for table in self.tables if words in table.caption)

    @property
    def take(self) -> list[str]:
        """The lines that say which artifact to take."""
        kinds = (attributes.get("class", "") for attributes in self.attributes["p"])
        lines = zip(kinds, self.texts["p"], strict=True)
        return [text for kind, text in lines if kind.split()[:1] == ["take"]]

    def shut(self) -> bool:
        """Whether the policy lets in this very style sheet and nothing else."""
        (style,) = self.texts_raw("style")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        wanted = f"default-src 'none'; style-src 'sha256-{digest}'"
        policies = [meta.get("content", "") for meta in self.attributes["meta"]]
        addresses = re.search(r"url\(|@import|https?:", style)
        return any(policy.startswith(wanted) for policy in policies) and not addresses

    def texts_raw(self, tag: str) -> list[str]:
        """The text inside each `tag`, its white space kept."""
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", self.source, re.DOTALL)
        return list(found)
