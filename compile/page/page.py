"""The page: its sections in their order, and the file that holds it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compile.artifact.manifest import MANIFEST_HASH
from compile.errors import UsageError
from compile.files import refuse_special, write_atomic
from compile.page.choosing import Group, choice, grouped
from compile.page.conditions import conditions
from compile.page.distributions import distributions
from compile.page.evidence import Evidence, collect
from compile.page.front import front
from compile.page.markup import Content, Markup, join, section, sentence, tag
from compile.page.matrix import matrix
from compile.page.naming import task_of
from compile.page.phases import phases
from compile.page.reading import Document, read_document
from compile.page.scenarios import scenarios
from compile.page.style import STYLE
from compile.page.summary import summary
from compile.page.sweeps import sweeps

_START = b"<!doctype html>\n<!-- written by zoo report -->\n"
"""Of every page. Only a file that begins with it is replaced."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What became of some files."""

    path: Path
    """Of the page."""
    artifacts: tuple[str, ...]
    """Measured or proved, by name."""
    chosen: tuple[str, ...]
    """The artifacts to take, one at most for each task, batch and machine."""


def write_page(files: Sequence[Path], path: Path) -> Page:
    """Write one HTML page about the JSON `files` to `path`. It needs no other file and no network.

    Raises UsageError without files, if one is not there, or if something else than a page of this
    command stands at `path`; BadArtifact if a file is not one of zoo's; Unavailable if one may not
    be read, or the page cannot be written.
    """
    if not files:
        raise UsageError("no file given; name reports, such as `zoo report bench.json check.json`")
    _refuse_place(path)
    documents = [read_document(file) for file in files]
    evidence = collect(documents)
    write_atomic(path, _START + page(evidence, documents).encode() + b"\n")
    chosen = [choice(group, evidence) for group in grouped(evidence)]
    return Page(
        path=path,
        artifacts=tuple(evidence.names()),
        chosen=tuple(each.artifact for each in chosen if each is not None),
    )


def _refuse_place(path: Path) -> None:
    """Raise UsageError unless `path` is free, or holds an earlier page."""
    if (path.parent / MANIFEST_HASH).exists():
        raise UsageError(f"{path} lies in an artifact's folder, which never changes; name another")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a folder; make it, or name another --html")
    refuse_special(path)
    if path.exists():
        with path.open("rb") as stream:
            begins = stream.read(len(_START))
        if begins != _START:
            raise UsageError(f"{path} is not a page of zoo report; name another file for --html")


def page(evidence: Evidence, documents: Sequence[Document]) -> Markup:
    """The document below its first lines."""
    groups = grouped(evidence)
    title = _title(evidence, groups)
    parts = _sections(evidence, groups, documents)
    body = tag(
        "body",
        tag("header", tag("h1", title), _lead(evidence, documents), _contents(parts)),
        tag("main", _main(parts)),
        tag("footer", sentence("Written by `zoo report`. This file loads nothing.", "note")),
    )
    return tag("html", _head(title), body, lang="en")


def _head(title: str) -> Markup:
    """The policy lets nothing in except for this very style sheet."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("meta", name_="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )


def _title(evidence: Evidence, groups: Sequence[Group]) -> str:
    tasks = [group.task for group in groups] or [task_of(name) for name in evidence.names()]
    models = list(dict.fromkeys(task.split(" ")[0] for task in tasks))
    return (
        " and ".join(models)
        if 0 < len(models) < 3
        else f"{len(models)} models"
        if models
        else "Nothing"
    )


def _lead(evidence: Evidence, documents: Sequence[Document]) -> Markup:
    artifacts = evidence.names()
    found = (str(row.conditions.get("date", ""))[:10] for row in evidence.everything_measured())
    dates = sorted(filter(None, found))
    said = f"{_count(len(artifacts), 'artifact')} from {_count(len(documents), 'file')}"
    if dates:
        said += f", measured on {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "")
    return tag("p", f"{said}.", class_="lead")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _main(parts: dict[str, tuple[str, Markup]]) -> Markup:
    """The sections; on a wide screen the two with pictures stand side by side."""
    made = {anchor: section(title, anchor, body) for anchor, (title, body) in parts.items()}
    beside = [made.pop(anchor) for anchor in ("latency", "front") if anchor in made]
    take = made.pop("take")
    return join([take, tag("div", *beside, class_="pictures"), *made.values()])


def _contents(parts: dict[str, tuple[str, Markup]]) -> Markup:
    links = (tag("a", title, href=f"#{anchor}") for anchor, (title, _) in parts.items())
    return tag("nav", join(links, " "), aria_label="Sections")


def _sections(
    evidence: Evidence, groups: Sequence[Group], documents: Sequence[Document]
) -> dict[str, tuple[str, Markup]]:
    """Anchor -> title and content. Those about measurements are left out if there are none."""
    lacks = "by which artifacts can be compared " if evidence.everything_measured() else ""
    nothing = sentence(
        f"There is no measurement {lacks}in these files, so there is no latency and none to take. "
        "Add the report of `zoo bench --json`."
    )
    found = {"take": ("Which one to take", nothing)}
    if groups:
        take = _each(groups, lambda group: summary(group, evidence))
        drawn = _each(groups, lambda group: front(group, evidence))
        found["take"] = ("Which one to take", take)
        found["latency"] = ("Latency", _each(groups, distributions))
        found["front"] = ("Latency, error and size", drawn)
    if evidence.sweeps:
        found["sweep"] = ("Sweep", sweeps(evidence))
    if evidence.scenarios:
        found["scenarios"] = ("Scenarios", scenarios(evidence))
    found["parity"] = ("Parity", matrix(evidence))
    if groups:
        found["time"] = ("Where the time goes", _each(groups, lambda each: phases(each, evidence)))
    found["conditions"] = ("Conditions", conditions(evidence, documents))
    return found


def _each(groups: Sequence[Group], draw: Callable[[Group], Markup]) -> Markup:
    """One part for each group, with a heading if there are several."""
    parts: list[Content] = []
    for group in groups:
        several = len({each.machine for each in groups}) > 1
        name = f"{group.title}, {group.place}" if several else group.title
        parts += [tag("h3", name)] if len(groups) > 1 else []
        parts.append(draw(group))
    return join(parts)
