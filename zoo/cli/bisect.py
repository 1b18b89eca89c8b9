"""zoo bisect: which block of the network makes an artifact wrong."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from zoo.cli.artifact_source import find_source
from zoo.cli.bisect_figure import check_drawing, draw
from zoo.cli.command import Command
from zoo.cli.options import QuietOption, RunsOption, ThreadsOption, set_threads
from zoo.cli.selecting import artifact_folder
from zoo.cli.tables import StageLine, wrapped
from zoo.errors import BadArtifact, CheckFailed, UsageError, ZooError

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest
    from compile.bisect.search import Bisection
    from compile.proof.prepared import PreparedModel
    from zoo.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Bisect(RunsOption, ThreadsOption, QuietOption, Command):
    """Find the block of the network that makes an artifact wrong."""

    artifact: Annotated[Path, Argument()]
    """An artifact's folder."""
    full: bool = False
    """Measure every block, and draw how the error grows."""
    picture: Annotated[
        Path | None, Option(show_default="bisect-<folder>.png beside the artifact")
    ] = None
    """Where --full writes its picture, a PNG file."""
    model: Annotated[str | None, Option(show_default="as the manifest says")] = None
    """The model that the artifact was built from."""
    calibrate: Annotated[Path | None, Option(show_default="as for zoo compile")] = None
    """The folder of images that int8 was calibrated with."""

    def run(self) -> None:
        """Print the errors of the blocks. Raises CheckFailed if the artifact is wrong."""
        from compile.report import show, to_json

        self._check()
        report = self._search()
        if not self.json:
            show(*bisect_table(report))  # before the picture, which may fail: it took minutes
        drawn, failure = self._try_to_draw(report) if self.full else (None, None)
        if self.json:
            print(to_json({**asdict(report), "picture": str(drawn) if drawn else None}), end="")
        elif drawn:
            show(f"picture: {drawn}")
        if failure is not None and self.picture is not None:
            raise failure
        if failure is not None:
            print(f"zoo: no picture: {failure}; choose another --picture", file=sys.stderr)
        if not report.passed:
            raise CheckFailed(
                f"{report.artifact}: {report.reason}; build it again with `zoo compile --force`, "
                "or report the backend's fault"
            )
        if not self.json:
            show(f"next: zoo check {self.artifact}")

    def _check(self) -> None:
        artifact_folder(self.artifact)
        if self.picture is not None and not self.full:
            raise UsageError("--picture needs --full; give both")
        if self.full:
            check_drawing()

    def _search(self) -> Bisection:
        from compile.artifact.reading import open_artifact
        from compile.bisect.search import bisect

        set_threads(self.threads)
        manifest = open_artifact(self.artifact).manifest
        with StageLine(quiet=self.quiet or self.json) as tell:
            source = find_source(self.artifact, manifest, self.model, self.runs)
            prepared = prepare(source, manifest, self.calibrate)
            return bisect(self.artifact, prepared, full=self.full, progress=tell)

    def _try_to_draw(self, report: Bisection) -> tuple[Path | None, ZooError | None]:
        """Where the picture is, or why there is none."""
        folder = self.artifact.resolve()
        path = self.picture or folder.with_name(f"bisect-{folder.name}.png")
        try:
            draw(report, path)
        except ZooError as error:
            return None, error
        return path, None


def prepare(source: Source, manifest: Manifest, calibrate: Path | None) -> PreparedModel:
    """The network, and the images that a quantised artifact was calibrated with."""
    from compile.bisect.search import calibration_of
    from compile.precision import precision
    from compile.proof.images import Calibration
    from compile.proof.prepared import PreparedModel

    outputs = asked_outputs(manifest)
    if not precision(manifest["precision"]).quantised:
        if calibrate is not None:
            raise UsageError(f"--calibrate is for int8; the artifact is {manifest['precision']}")
        return PreparedModel(source.network, source.shape, outputs=outputs)
    origin, count = calibration_of(manifest)
    images = source.calibration(calibrate, count)
    if images is None:
        raise BadArtifact(
            f"the images that the artifact was calibrated with, '{origin}', are not here; name "
            "their folder with --calibrate"
        )
    return PreparedModel(
        source.network,
        source.shape,
        calibration=Calibration(images=images[0], source=images[1]),
        outputs=outputs,
    )


def asked_outputs(manifest: Manifest) -> dict[str, str] | None:
    """The outputs that were asked for, name -> place; BadArtifact if they are not texts."""
    outputs = manifest["build"]["request"].get("outputs")
    if outputs is None:
        return None
    if not isinstance(outputs, dict) or not all(isinstance(each, str) for each in outputs.values()):
        raise BadArtifact(
            "the manifest's build.request does not say which outputs were asked for; build the "
            "artifact anew with `zoo compile --force`"
        )
    return outputs


def bisect_table(report: Bisection) -> list[Any]:
    """A row for each block that was measured, with a mark at the culprit, then notes."""
    from compile.report import short, table

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
        "error: against float64, the largest of the samples, relative to the block's output; "
        f"error/allowed: at most 1 passes; {_ends(report)}",
        *([f"{left} blocks not measured: --full measures all"] if left > 0 else []),
        report.reason,
    ]
    title = f"{report.artifact}, batch {report.batch}"
    if report.output is not None:
        title += f", output {report.output}"
    return [title, table(columns, rows, left=("block", "")), *wrapped(notes)]


def _ends(report: Bisection) -> str:
    if report.output is None:
        return "the last row is the network's output"
    return (
        f"{report.output} is the most wrong output; a block that ends with an output has its error"
    )
