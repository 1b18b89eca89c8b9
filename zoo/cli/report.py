"""zoo report: one HTML page about what was measured and proved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument

from zoo.cli.command import Command
from zoo.cli.options import JsonOption


@dataclass(frozen=True, kw_only=True)
class Report(JsonOption, Command):
    """Write one HTML page about reports and manifests."""

    files: Annotated[tuple[Path, ...], Argument()] = ()
    """JSON files of zoo-run, of bench, compare, check, inspect or compile --backend fastest with
    --json, or manifests."""
    html: Path = Path("report.html")
    """Where the page goes; an earlier page there is replaced."""

    def run(self) -> None:
        """Write the page. Raises BadArtifact for a file that zoo did not write."""
        from compile.page.page import write_page
        from compile.report import show, to_json

        page = write_page(self.files, self.html)
        if self.json:
            document = {"html": str(page.path), "artifacts": page.artifacts, "take": page.chosen}
            print(to_json(document), end="")
            return
        show(f"wrote {page.path}, about {len(page.artifacts)} artifacts")
        show(*(f"take {name}" for name in page.chosen))
        show("next: open it in a browser, or send it: it needs no other file")
