"""zoo export: a run's weights for another library, or an artifact for a Triton server."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from zoo.cli.command import Command
from zoo.cli.options import JsonOption, RunsOption
from zoo.cli.selecting import artifact_folder
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.runs.checkpoint import Run


@dataclass(frozen=True, kw_only=True)
class Export(RunsOption, JsonOption, Command):
    """Export a run for other libraries, or an artifact for Triton."""

    what: Annotated[str, Argument()]
    """A run's path or a model's name; with --triton an artifact's path."""
    format_: str | None = None
    """torchvision, timm or hf."""
    triton: Path | None = None
    """Model repository of a Triton server."""
    out: Path = Path("exports")
    """Root folder of the exports."""
    license_: str = "unknown"
    """Licence of the weights, for the model card of --format hf."""
    name: str | None = None
    """The model's name in Triton; by default the network's name."""
    force: bool = False
    """Replace a model of that name in --triton."""

    def run(self) -> None:
        """Write the files, and print where they are and what to know of them."""
        if self.format_ is not None and self.triton is None:
            if self.name is not None or self.force:
                raise UsageError("--name and --force belong to --triton; leave them out here")
            self._export_run(self.format_)
        elif self.triton is not None and self.format_ is None:
            self._export_artifact(self.triton)
        else:
            raise UsageError(
                "give either --format, for a run's weights, or --triton, for an artifact"
            )

    def _export_artifact(self, repository: Path) -> None:
        from compile.artifact.reading import verify_artifact
        from compile.artifact.status import require_proved
        from compile.artifact.triton import export_triton
        from compile.backends import triton_platform
        from compile.report import show, to_json

        artifact = artifact_folder(Path(self.what))
        verified = verify_artifact(artifact)
        require_proved(verified, accept_error=True)  # no server runs what has never been run
        platform = triton_platform(verified.manifest, artifact)
        exported = export_triton(verified, repository, platform, name=self.name, force=self.force)
        if self.json:
            report = {
                "artifact": str(artifact),
                "path": str(exported.path),
                "model": exported.path.name,
                "platform": exported.platform,
                "notes": exported.notes,
            }
            print(to_json(report), end="")
            return
        show(
            f"exported {exported.path} for {exported.platform}",
            *(f"- {note}" for note in exported.notes),
            f"next: tritonserver --model-repository {shlex.quote(str(repository.absolute()))}",
        )

    def _export_run(self, wanted: str) -> None:
        from compile.report import show, to_json
        from zoo.exchange import export_run

        run = self._chosen_run()
        exported = export_run(run, wanted, self.out, license_=self.license_)
        if self.json:
            report = {
                "run": str(run.folder),
                "format": wanted,
                "path": str(exported.path),
                "sha256": exported.sha256,
                "written": exported.written,
            }
            print(to_json(report), end="")
            return
        verb = "exported" if exported.written else "is there already:"
        lines = [f"{verb} {exported.path}", f"- sha256 {exported.sha256}"]
        if wanted == "hf" and self.license_ == "unknown":
            lines.append("- its card says 'license: unknown'; give --license before you upload it")
        show(*lines, f"next: {_next(wanted, run.config.model, exported.path)}")

    def _chosen_run(self) -> Run:
        from zoo.models import info, names
        from zoo.runs.checkpoint import load_run, newest_run

        if self.what in names() and "/" not in self.what:
            return newest_run(self.runs, self.what)
        if not Path(self.what).exists():
            info(self.what)  # raises the error that offers close names
        return load_run(self.what)


def _next(wanted: str, model: str, path: Path) -> str:
    """How the other library reads it; for hf, how it gets to the hub."""
    quoted = shlex.quote(str(path))
    if wanted == "hf":
        return f"hf upload USER/{path.name} {quoted}"
    return f"zoo import {model} --weights {quoted}"
