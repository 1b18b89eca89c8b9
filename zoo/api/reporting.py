"""What was measured and proved becomes one HTML page: `zoo.report`."""

from __future__ import annotations

from pathlib import Path


def report(*files: str | Path, html: str | Path = "report.html") -> Path:
    """Write one HTML page about JSON files of zoo and return its path.

    Args:
        files: reports of `zoo-run --json FILE`, of `zoo bench` and its sweeps, `zoo compare`,
            `zoo check`, `zoo inspect` or `zoo compile --backend fastest` with `--json`, and
            manifests, in any order.
        html: where the page goes. An earlier page there is replaced, nothing else is.

    The page needs no other file and no network. Raises UsageError if a file is not there, or if
    `html` is something else than such a page; BadArtifact if a file is not one of zoo's;
    Unavailable if the page cannot be written.

    >>> report("bench.json", "check.json", html="resnet50.html")
    """
    from compile.page.page import write_page

    return write_page([Path(file) for file in files], Path(html)).path
