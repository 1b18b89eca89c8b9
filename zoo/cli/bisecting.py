"""zoo bisect."""

from __future__ import annotations

import io
import re
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import RUNS, Json, Quiet, Runs, Threads, set_threads
from zoo.errors import BadArtifact, CheckFailed, Unavailable, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compile.bisect import Report
    from zoo.source import Source

_ARTIFACT, _PYTORCH = "#b5482f", "#1f5f99"


def bisect(
    artifact: Annotated[Path, typer.Argument(help="An artifact's folder.")],
    full: Annotated[
        bool, typer.Option("--full", help="Measure every block, and draw the error's growth.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="PNG of --full.", show_default="bisect-<folder>.png beside the artifact"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model it was built from.", show_default="as the manifest says"),
    ] = None,
    runs: Runs = RUNS,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the block of the network that makes an artifact wrong."""
    from compile.bisect import bisect as search
    from compile.manifest import read_manifest
    from compile.report import show, to_json
    from compile.subject import Subject
    from zoo.cli.tables import Progress

    if not artifact.is_dir():
        raise UsageError(f"{artifact} is no folder; `zoo list` shows the artifacts")
    if picture is not None and not full:
        raise UsageError("--picture needs every block measured: give --full as well")
    if full:
        _check_drawing()
    set_threads(threads)
    manifest = read_manifest(artifact)
    with Progress(quiet=quiet or json) as progress:
        source = find_source(manifest, model, runs)
        report = search(
            artifact, Subject(source.network, source.shape), full=full, progress=progress
        )
    drawn = None
    if full:
        drawn = picture or artifact.resolve().with_name(f"bisect-{artifact.resolve().name}.png")
        draw(report, drawn)
    if json:
        print(to_json({**asdict(report), "picture": str(drawn) if drawn else None}), end="")
    else:
        show(*bisect_table(report), *([f"picture: {drawn}"] if drawn else []))
    if not report.passed:
        raise CheckFailed(
            f"{report.artifact}: {report.reason}; build it again with `zoo compile --force`, or "
            f"report the backend's fault"
        )
    if not json:
        show(f"next: zoo check {artifact}")


def find_source(manifest: dict[str, Any], model: str | None, runs: Path) -> Source:
    """The network that an artifact was built from: as `model` names it, else by the manifest.

    Raises UsageError where its run is gone, BadArtifact where the manifest names no source.
    """
    from compile.artifact import input_of
    from zoo.checkpoint import find_weights
    from zoo.source import resolve

    origin: str = manifest["model"]["source"]
    seed = re.search(r"\bseed=([0-9]{1,18})", origin)
    folder = find_weights(runs, manifest["model"]["weights_sha256"])
    if model is None:
        if folder is not None:
            model = str(folder.resolve())
        elif (Path(origin) / "config.json").is_file():
            model = str(Path(origin).resolve())
        elif origin.startswith("fresh:"):
            model = manifest["model"]["name"]
        elif ":" in origin:
            model = origin.partition(" ")[0]
        else:
            raise BadArtifact(
                f"the artifact was built from {origin}, which is not here; name its run or model "
                "with --model"
            )
    return resolve(
        model,
        runs=runs,
        fresh="fresh" in origin,
        seed=int(seed[1]) if seed else 0,
        shape=input_of(manifest).chw,
    )


def bisect_table(report: Report) -> list[Any]:
    """One row for each block that was measured, the culprit marked, and what the columns mean."""
    from compile.report import short, table
    from zoo.cli.tables import wrapped

    rows = [
        (
            point.name,
            short(point.error, 2),
            short(point.eager, 2),
            short(point.ratio, 2),
            short(point.error / point.eager if point.eager else None, 2),
            "<- here" if point.name == report.culprit else "",
        )
        for point in report.points
    ]
    columns = ("block", "error", "PyTorch's", "error\n/allowed", "error\n/eager", "")
    left = len(report.blocks) - len(report.points)
    notes = [
        "error: the largest of the samples against float64, relative to the values behind the "
        "block; at most 1 of what is allowed passes; the last row is the network's output",
        *([f"{left} blocks not measured: --full measures all"] if left > 0 else []),
        report.reason,
    ]
    title = f"{report.artifact}, batch {report.batch}"
    return [title, table(columns, rows, left=("block", "")), *wrapped(notes)]


def _check_drawing() -> None:
    if find_spec("matplotlib") is None:
        raise Unavailable("--full draws with matplotlib; run `pip install 'resnet-zoo[study]'`")


def draw(report: Report, path: Path) -> None:
    """Write the picture of the errors growing through the network."""
    from compile.files import write_atomic

    image = io.BytesIO()
    _figure(report).savefig(image, format="png", dpi=100)
    write_atomic(path, image.getvalue())


def _figure(report: Report) -> Figure:
    from zoo.study.drawing import line, panels

    (figure, (axis,)) = panels(1, width=7.2, height=4.0)
    places = range(len(report.points))
    for what, label, color in (
        ("error", f"{report.backend} {report.precision}", _ARTIFACT),
        ("eager", f"PyTorch in {report.precision}", _PYTORCH),
        ("allowed", "allowed", "#888888"),
    ):
        # Zero, as behind a layer that only drops values, has no place on a logarithmic axis.
        values = [getattr(point, what) or float("nan") for point in report.points]
        line(axis, places, values, label, color=color)
    axis.lines[-1].set_linestyle("--")
    axis.set_yscale("log")
    names = [point.name for point in report.points]
    if report.culprit in names:
        at = names.index(report.culprit)
        axis.axvline(at, color=_ARTIFACT, alpha=0.25, linewidth=8)
        axis.annotate(
            report.inside or report.culprit,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center" if 0 < at < len(names) - 1 else "left" if at == 0 else "right",
            va="top",
            fontsize=8,
        )
    step = -(-len(names) // 40)
    axis.set_xticks(list(places)[::step], names[::step], rotation=60, ha="right", fontsize=7)
    axis.set_title(f"{report.artifact}, batch {report.batch}", loc="left", fontsize=10)
    axis.set_ylabel("error against float64, relative")
    axis.legend(frameon=False, fontsize=8)
    return figure


COMMANDS = {"bisect": bisect}
