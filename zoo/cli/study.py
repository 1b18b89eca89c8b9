"""zoo study: claims of the ResNet paper, put to the test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zoo.cli.command import Command
from zoo.cli.options import DeviceOption, QuietOption, ThreadsOption, check_device, set_threads
from zoo.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Study(DeviceOption, ThreadsOption, QuietOption, Command):
    """Put a claim of the ResNet paper to the test, or resume a study."""

    name: Annotated[str | None, Argument()] = None
    """A study's name; without it they are listed."""
    full: bool = False
    """The paper's setting on CIFAR-10; it takes days without a GPU."""
    seeds: Annotated[int, Option(min=1, max=100)] = 3
    """How often each network is trained."""
    data: Annotated[str | None, Option(show_default="digits; --full: cifar10")] = None
    """A data set, as for `zoo train --data`."""
    out: Path = Path("studies")
    """Root folder of the studies."""
    redraw: Annotated[Path | None, Option(show_default=False)] = None
    """Only draw the picture again, from this folder's curves.csv."""

    def run(self) -> None:
        """Train what the study needs, print what it found, and write its files."""
        if self.redraw is not None:
            self._redraw(self.redraw)
        elif self.name is None:
            self._list()
        else:
            self._study(self.name)

    def _list(self) -> None:
        from compile.report import show, to_json
        from zoo.study import STUDIES, find_study

        summaries = {name: find_study(name).SUMMARY for name in STUDIES}
        if self.json:
            print(to_json({"studies": summaries}), end="")
            return
        show(*(f"{name:<12} {summary}" for name, summary in summaries.items()))
        show("", "next: zoo study degradation")

    def _redraw(self, folder: Path) -> None:
        from compile.report import show, to_json
        from zoo.study.lab import check_drawing
        from zoo.study.publishing import redraw

        if self.name is None:
            raise UsageError("--redraw needs a study: `zoo study NAME --redraw FOLDER`")
        check_drawing()
        picture = redraw(self.name, folder)
        if self.json:
            print(to_json({"study": self.name, "picture": str(picture)}), end="")
        else:
            show(f"drew {picture}")

    def _study(self, name: str) -> None:
        import torch

        from compile.report import show
        from zoo.cli.tables import StageLine, wrapped
        from zoo.study import STUDIES, find_study
        from zoo.study.lab import Lab, check_drawing
        from zoo.study.publishing import publish
        from zoo.training.memory import keep_freed_memory
        from zoo.training.parallel import Group
        from zoo.training.train import Work

        experiment = find_study(name)
        check_drawing()
        check_device(self.device or "cpu")
        set_threads(self.threads)
        keep_freed_memory()
        folder = self.out / (f"{name}-full" if self.full else name)
        with StageLine(quiet=self.quiet or self.json) as tell:
            lab = Lab(
                folder=folder,
                full=self.full,
                seeds=self.seeds,
                work=Work(group=Group(device=torch.device(self.device or "cpu")), quiet=True),
                source=self.data or "",
                say=tell,
            )
            report = experiment.run(lab)
            files = publish(report, name, folder)
        if self.json:
            print((folder / "report.json").read_text(), end="")
            return
        show(report.title, *wrapped([report.setting]), "")
        for claim in report.claims:
            show(*wrapped([f"{claim.verdict}: {claim.paper}", f"  {claim.measured}"], indent=2))
        show("", *wrapped([f"in {folder}/: {', '.join(path.name for path in files)}"]))
        others = [key for key in STUDIES if key != name]
        show(f"next: zoo study {others[0]}")
