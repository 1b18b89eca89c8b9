"""zoo bisect."""

from __future__ import annotations

import io
import re
import shlex
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import RUNS, Json, Quiet, Runs, Threads, set_threads
from zoo.errors import BadArtifact, CheckFailed, Unavailable, UsageError, ZooError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compile.artifact.manifest import Manifest
    from compile.bisect.search import Report
    from compile.proof.subject import Subject
    from zoo.sources.source import Source

_ARTIFACT, _PYTORCH = "#b5482f", "#1f5f99"

_FRESH = re.compile(r"fresh:seed=(?P<seed>[0-9]{1,18})")
_TIMM = re.compile(r"(?P<model>timm:[\w.-]+)(?P<fresh> fresh:seed=(?P<seed>[0-9]{1,18}))?")
_CODE = re.compile(r"(?P<model>[\w.]+:[\w.]+)( seed=(?P<seed>[0-9]{1,18}))?(?P<fresh> fresh)?")
"""How zoo.sources writes what is not a run."""


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
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="The folder of images that int8 was calibrated with.",
            show_default="as for zoo compile",
        ),
    ] = None,
    runs: Runs = RUNS,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the block of the network that makes an artifact wrong."""
    from compile.artifact.reading import open_artifact
    from compile.bisect.search import bisect as search
    from compile.report import show, to_json
    from zoo.cli.tables import Progress

    if not artifact.is_dir():
        raise UsageError(f"{artifact} is no folder; `zoo list` shows the artifacts")
    if picture is not None and not full:
        raise UsageError("--picture needs every block measured: give --full as well")
    if full:
        _check_drawing()
    set_threads(threads)
    manifest = open_artifact(artifact).manifest
    with Progress(quiet=quiet or json) as progress:
        source = find_source(artifact, manifest, model, runs)
        subject = make_subject(source, manifest, calibrate)
        report = search(artifact, subject, full=full, progress=progress)
    if not json:
        show(*bisect_table(report))  # before the picture, which may fail: it took minutes
    drawn, failure = _try_to_draw(report, picture, artifact) if full else (None, None)
    if json:
        print(to_json({**asdict(report), "picture": str(drawn) if drawn else None}), end="")
    elif drawn:
        show(f"picture: {drawn}")
    if failure is not None and picture is not None:
        raise failure
    if failure is not None:
        print(f"zoo: no picture: {failure}; name another place by --picture", file=sys.stderr)
    if not report.passed:
        raise CheckFailed(
            f"{report.artifact}: {report.reason}; build it again with `zoo compile --force`, or "
            f"report the backend's fault"
        )
    if not json:
        show(f"next: zoo check {artifact}")


def find_source(artifact: Path, manifest: Manifest, model: str | None, runs: Path) -> Source:
    """The network that an artifact was built from: as `model` names it, else by the manifest.

    A manifest may name weights, zoo's own networks and timm's, but no other code: whoever gives
    the artifact away would choose what is imported here. Raises UsageError where it does,
    BadArtifact where its run is gone or it names no source.
    """
    from compile.artifact.reading import input_of
    from zoo.sources.foreign import is_foreign
    from zoo.sources.source import resolve

    origin: str = manifest["model"]["source"]
    fresh, foreign = _FRESH.fullmatch(origin), _TIMM.fullmatch(origin) or _CODE.fullmatch(origin)
    chosen = _named_by(artifact, manifest, runs) if model is None else model
    seeded = foreign if is_foreign(chosen) else fresh
    return resolve(
        chosen,
        runs=runs,
        fresh=seeded is not None and (seeded is fresh or seeded["fresh"] is not None),
        seed=int(seeded["seed"] or 0) if seeded else 0,
        shape=input_of(manifest).chw,
    )


def make_subject(source: Source, manifest: Manifest, calibrate: Path | None) -> Subject:
    """The network, with the images that a quantised artifact was calibrated with."""
    from compile.bisect.search import calibration_of
    from compile.precision import precision
    from compile.proof.subject import Calibration, Subject

    if not precision(manifest["precision"]).quantised:
        if calibrate is not None:
            raise UsageError(f"--calibrate is for int8; the artifact is {manifest['precision']}")
        return Subject(source.network, source.shape)
    origin, count = calibration_of(manifest)
    images = source.calibration(calibrate, count)
    if images is None:
        raise BadArtifact(
            f"the images that the artifact was calibrated with, '{origin}', are not here; name "
            "their folder with --calibrate"
        )
    return Subject(
        source.network,
        source.shape,
        calibration=Calibration(images=images[0], source=images[1]),
    )


def _named_by(artifact: Path, manifest: Manifest, runs: Path) -> str:
    """MODEL as the manifest has it, where that imports nothing but zoo and timm."""
    from zoo.models import names
    from zoo.runs.checkpoint import find_weights

    name, origin = manifest["model"]["name"], manifest["model"]["source"]
    folder = find_weights(runs, manifest["model"]["weights_sha256"])
    if folder is not None:
        return str(folder.resolve())
    if (Path(origin) / "config.json").is_file():
        return str(Path(origin).resolve())
    if _FRESH.fullmatch(origin) and name in names():
        return str(name)
    if timm := _TIMM.fullmatch(origin):
        return timm["model"]
    if code := _CODE.fullmatch(origin):
        again = shlex.join(["zoo", "bisect", str(artifact), "--model", code["model"]])
        raise UsageError(
            f"the artifact was built from {code['model']}, and a manifest may name runs, zoo's "
            f"networks and timm's, but no other code to import; if you trust it, run `{again}`"
        )
    raise BadArtifact(
        f"the artifact was built from {origin}, which is not here; name its run or model "
        "with --model"
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


def _try_to_draw(
    report: Report, picture: Path | None, artifact: Path
) -> tuple[Path | None, ZooError | None]:
    """Where the picture is, beside the artifact unless it was told, or why there is none."""
    folder = artifact.resolve()
    path = picture or folder.with_name(f"bisect-{folder.name}.png")
    try:
        draw(report, path)
    except ZooError as error:
        return None, error
    return path, None


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
