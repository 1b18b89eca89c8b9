"""zoo compile, check, bench, inspect."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compile.backends import BACKENDS, DEFAULT
from compile.measure.defaults import DURATION_S, ITERATIONS
from compile.precision import PRECISIONS
from zoo.cli.options import (
    ARTIFACTS,
    RUNS,
    Artifacts,
    Device,
    Json,
    Model,
    Out,
    Quiet,
    Runner,
    Runs,
    Seed,
    Threads,
    check_device,
    set_threads,
)
from zoo.cli.selecting import TestSets, can_bisect, raise_worst, ready_runner, select
from zoo.errors import CheckFailed, UsageError, ZooError

if TYPE_CHECKING:
    from compile.proof.check import Row

ArtifactOrModel = Annotated[
    str | None,
    typer.Argument(help="An artifact's path, or a model's name or run.", show_default="the newest"),
]
All = Annotated[bool, typer.Option("--all", help="Every artifact below --out.")]


def compile_(
    model: Model = None,
    backend: Annotated[str, typer.Option(help=f"{', '.join(BACKENDS)} or all.")] = DEFAULT,
    precision: Annotated[
        str, typer.Option(help=f"{', '.join(PRECISIONS)} or all that a backend has.")
    ] = "fp32",
    batch: Annotated[str, typer.Option(help="A batch, such as 8, or a range, such as 1:64.")] = "1",
    input_: Annotated[
        str | None, typer.Option("--input", help="1xCxHxW.", show_default="the model's own")
    ] = None,
    input_type: Annotated[
        str,
        typer.Option(help="float32, or uint8: NHWC bytes, normalised inside the program."),
    ] = "float32",
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Folder of images for int8 and fp8.", show_default="the training split"),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=100_000, help="Images to calibrate with, at most.")
    ] = 256,
    target: Annotated[
        str, typer.Option(help="-march level of CPU code: native, x86-64-v3, ...")
    ] = "native",
    portable: Annotated[
        bool, typer.Option("--portable", help="A TensorRT engine for every GPU from Ampere on.")
    ] = False,
    device: Device = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Seeded weights instead of the newest run.")
    ] = False,
    runs: Runs = RUNS,
    out: Out = ARTIFACTS,
    seed: Seed = 0,
    threads: Threads = None,
    runner: Runner = None,
    force: Annotated[bool, typer.Option("--force", help="Build again what is there.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds for each build, in a process of its own."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile a network into artifacts that prove themselves."""
    from zoo.cli.cells import plan
    from zoo.cli.compiling import Order, compile_all

    cells = plan(backend, precision, device)  # before torch is imported: see compile.backends
    check_device(device or "cpu")
    set_threads(threads)
    order = Order(
        model=model,
        batch=batch,
        shape=input_,
        input_type=input_type,
        target=target,
        portable=portable,
        fresh=fresh,
        runs=runs,
        out=out,
        seed=seed,
        calibrate=calibrate,
        num_samples=samples,
        runner=runner,
        force=force,
        timeout=timeout,
        threads=threads,
        quiet=quiet or json,
    )
    compile_all(order, cells, json=json)


def check(
    what: ArtifactOrModel = None,
    all_: All = False,
    runs: Runs = RUNS,
    out: Artifacts = ARTIFACTS,
    runner: Runner = None,
    images: Annotated[
        int, typer.Option(min=1, max=100_000, help="Test images, at most, evenly taken.")
    ] = 4000,
    calls: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**6,
            help="Calls to see whether an artifact repeats itself to the bit.",
            show_default="as measured when it was built",
        ),
    ] = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Re-prove artifacts: parity and accuracy, in Python and by zoo-run."""
    from compile.proof.check import check_artifact
    from compile.report import show, to_json
    from zoo.cli.matrix import check_table
    from zoo.cli.tables import Progress

    set_threads(threads)
    paths = select(what, out, everything=all_)
    zoo_run = ready_runner(runner)
    test_sets = TestSets(runs, images)
    rows: list[Row] = []
    no_data: dict[str, str] = {}
    errors: list[ZooError] = []
    wrong_in_python: list[Path] = []
    with Progress(quiet=quiet or json) as progress:
        for path in paths:
            progress(f"checking {path.parent.name}/{path.name}")
            try:
                found = test_sets.of(path)
                if isinstance(found, str):
                    no_data[f"{path.parent.name}/{path.name}"] = found
                data = None if isinstance(found, str) else found
                made = check_artifact(path, zoo_run, data, threads=threads, calls=calls)
                rows += made
                if any(row.reasons and row.ran_in != "zoo-run" for row in made):
                    wrong_in_python.append(path)
            except ZooError as error:
                errors.append(error)
    if json:
        document = {
            "rows": [asdict(row) for row in rows],
            "no_data": no_data,
            "errors": list(map(str, errors)),
        }
        print(to_json(document), end="")
    elif rows:
        show(*check_table(rows, zoo_run, no_data))
    failed = [f"{r.artifact} in {r.ran_in}: {'; '.join(r.reasons)}" for r in rows if r.reasons]
    if failed:
        said = f"{len(failed)} of {len(rows)} rows: {'. '.join(failed)}"
        errors.append(CheckFailed(f"{said}; {_after_failure(wrong_in_python)}"))
    raise_worst(errors)
    if not json:
        show("next: zoo bench")


def _after_failure(wrong_in_python: list[Path]) -> str:
    """What to run next; `zoo bisect` where it can look into one: it runs in Python alone."""
    from compile.artifact.manifest import read_manifest

    for path in wrong_in_python:
        if can_bisect(read_manifest(path)):
            return f"`{shlex.join(['zoo', 'bisect', str(path)])}` names the layer"
    return "build again what failed with `zoo compile --force`"


def bench(
    what: ArtifactOrModel = None,
    all_: All = False,
    duration: Annotated[
        float | None,
        typer.Option(min=0.001, max=3600, help="Seconds at least.", show_default=f"{DURATION_S:g}"),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(min=1, max=10**6, help="Calls at least.", show_default=str(ITERATIONS)),
    ] = None,
    out: Artifacts = ARTIFACTS,
    runner: Runner = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure artifacts with zoo-run, and the same files from Python."""
    from compile.measure.bench import bench as measure
    from compile.report import show, to_json
    from zoo.cli.tables import Progress, bench_table

    paths = select(what, out, everything=all_)
    zoo_run = ready_runner(runner)
    reports: list[dict[str, Any]] = []
    errors: list[ZooError] = []
    with Progress(quiet=quiet or json) as progress:
        for path in paths:
            progress(f"measuring {path.parent.name}/{path.name}")
            try:
                reports.append(
                    measure(
                        path, zoo_run, duration=duration, iterations=iterations, threads=threads
                    )
                )
            except ZooError as error:
                errors.append(error)
    if json:
        print(to_json({"reports": reports, "errors": list(map(str, errors))}), end="")
    elif reports:
        show(*bench_table(reports))
    raise_worst(errors)
    if not json:
        show(f"next: zoo inspect {paths[0]}")


def inspect(
    artifact: Annotated[Path, typer.Argument(help="An artifact's folder.")], json: Json = False
) -> None:
    """Verify an artifact and say what it is, what it needs and what it proved."""
    from compile.artifact.reading import check_requirements, open_graph, verify_artifact
    from compile.report import show, to_json
    from zoo.cli.tables import inspect_lines

    if not artifact.is_dir():
        raise UsageError(f"{artifact} is no folder; `zoo list` shows the artifacts")
    verified = verify_artifact(artifact)
    manifest = verified.manifest
    if manifest.get("graph") is not None:  # which nothing that runs the program looks at
        open_graph(verified)
    if json:
        print(to_json(manifest), end="")
        return
    unfit = None
    try:
        check_requirements(manifest, artifact)
    except ZooError as error:  # it may well be meant for another machine
        unfit = str(error)
    show(*inspect_lines(artifact, manifest, unfit))
    if unfit is None:
        show(f"next: zoo check {artifact}")


COMMANDS = {"compile": compile_, "check": check, "bench": bench, "inspect": inspect}
