"""zoo study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.options import Json, Quiet, Threads, TrainingDevice, check_device, set_threads

Name = Annotated[
    str | None,
    typer.Argument(help="A study's name; without it they are listed.", show_default=False),
]


def study(
    name: Name = None,
    full: Annotated[
        bool, typer.Option("--full", help="The paper's setting on CIFAR-10; days without a GPU.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Trainings of each network.")] = 3,
    data: Annotated[
        str | None,
        typer.Option(help="As `zoo train` takes it.", show_default="digits; --full: cifar10"),
    ] = None,
    device: TrainingDevice = None,
    out: Annotated[Path, typer.Option("--out", help="Root folder to write to.")] = Path("studies"),
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put a claim of the ResNet paper to the test; a study that was stopped goes on."""
    import torch

    from compile.report import show, to_json
    from zoo.cli.tables import Progress, wrapped
    from zoo.study import STUDIES, find_study
    from zoo.study.lab import Lab, check_drawing, publish
    from zoo.training.memory import keep_freed_memory
    from zoo.training.parallel import Group
    from zoo.training.train import Work

    if name is None:
        listed = {key: find_study(key).SUMMARY for key in STUDIES}
        if json:
            print(to_json({"studies": listed}), end="")
            return
        show(*(f"{key:<12} {summary}" for key, summary in listed.items()))
        show("", "next: zoo study degradation")
        return
    experiment = find_study(name)
    check_drawing()
    check_device(device or "cpu")
    set_threads(threads)
    keep_freed_memory()
    folder = out / (f"{name}-full" if full else name)
    with Progress(quiet=quiet or json) as progress:
        lab = Lab(
            folder=folder,
            full=full,
            seeds=seeds,
            work=Work(group=Group(device=torch.device(device or "cpu")), quiet=True),
            source=data or "",
            say=progress,
        )
        report = experiment.run(lab)
        files = publish(report, name, folder)
    if json:
        print((folder / "report.json").read_text(), end="")
        return
    show(report.title, *wrapped([report.setting]), "")
    for claim in report.claims:
        show(*wrapped([f"{claim.verdict}: {claim.paper}", f"  {claim.measured}"], indent=2))
    show("", *wrapped([f"in {folder}/: {', '.join(path.name for path in files)}"]))
    others = [key for key in STUDIES if key != name]
    show(f"next: zoo study {others[0]}")


COMMANDS = {"study": study}
