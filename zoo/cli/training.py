"""zoo list, train, eval, predict."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.options import (
    ARTIFACTS,
    RUNS,
    Artifacts,
    Device,
    Json,
    Model,
    Out,
    Quiet,
    Runs,
    Seed,
    Threads,
    check_device,
    set_threads,
)


def list_(runs: Runs = RUNS, out: Artifacts = ARTIFACTS, json: Json = False) -> None:
    """List the networks, the runs and the artifacts."""
    import torch

    from compile.artifact import find_artifacts
    from compile.report import show, table, to_json
    from zoo.checkpoint import list_runs
    from zoo.models import build, macs, names, parameters

    with torch.device("meta"):  # counted without memory or arithmetic
        networks = {name: build(name) for name in names()}
        models: list[dict[str, Any]] = [
            {"name": name, "parameters": parameters(net), "macs": macs(net, (3, 224, 224))}
            for name, net in networks.items()
        ]
    found = [str(run) for run in list_runs(runs)]
    built = [str(path) for path in find_artifacts(out)]
    if json:
        print(to_json({"models": models, "runs": found, "artifacts": built}), end="")
        return
    rows = [(m["name"], f"{m['parameters']:,}", f"{m['macs'] / 1e9:.2f}") for m in models]
    show(table(("network", "parameters", "GMACs at 224"), rows, left=("network",)))
    for title, entries in (("runs", found), ("artifacts", built)):
        show(f"\n{title}:" + ("" if entries else " none"), *(f"  {entry}" for entry in entries))
    show("\nnext: " + ("zoo inspect " + built[-1] if built else "zoo train resnet18"))


def train(
    model: Annotated[str, typer.Argument(help="A name that `zoo list` shows.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of images.", show_default="bundled digits")
    ] = None,
    size: Annotated[int, typer.Option(min=8, max=1024, help="Image size with --data.")] = 64,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10_000, show_default="the recipe's")
    ] = None,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Keep the newest run if the same made it.")
    ] = False,
    out: Out = RUNS,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on digits, or on a folder of images."""
    from compile.report import percent, show, to_json
    from zoo import train as training
    from zoo.data import load_digits_split, load_folder
    from zoo.models import build

    build(model, seed=0)  # an unknown name is said before anything is read
    check_device(device or "cpu")
    set_threads(threads)
    images = load_folder(data, size=size, seed=seed) if data else load_digits_split()
    recipe = training.default_recipe(images)
    recipe = replace(recipe, epochs=epochs) if epochs else recipe
    run = training.find_same(out, model, images, recipe, seed) if if_needed else None
    verb = "kept" if run else "trained"
    run = run or training.train(
        model,
        images,
        recipe=recipe,
        seed=seed,
        out=out,
        device=device or "cpu",
        stem="small" if images.shape[1] <= 64 else "imagenet",
        quiet=quiet or json,
    )
    if json:
        print(
            to_json({"run": str(run.folder), "trained": verb == "trained", **asdict(run.config)}),
            end="",
        )
        return
    results = run.config.results
    assert results is not None
    show(
        f"{verb} {run.folder}: test accuracy {percent(results.test_correct, results.test_total)} "
        f"({results.test_correct} of {results.test_total}), "
        f"{results.epochs} epochs in {results.seconds:.0f} s",
        "next: zoo compile --backend all",
    )


def eval_(
    model: Model = None,
    runs: Runs = RUNS,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure a run's test accuracy again."""
    from compile.report import percent, show, to_json
    from zoo.errors import CheckFailed, UsageError
    from zoo.source import resolve
    from zoo.train import evaluate

    set_threads(threads)
    source = resolve(model, runs=runs)
    data = source.data()
    if source.run is None or data is None:
        raise UsageError(f"{source.origin} has no data set; give a run, or train one")
    result = evaluate(source.network, data.test_x, data.test_y)
    recorded = source.run.config.results
    same = recorded is None or recorded.test_correct == result.correct
    if json:
        print(
            to_json({"run": source.origin, "accuracy": result.accuracy, **asdict(result)}), end=""
        )
    else:
        show(
            f"{source.origin}: test accuracy {percent(result.correct, result.total)} "
            f"({result.correct} of {result.total}), loss {result.loss:.4f}",
            "next: zoo compile --backend all",
        )
    if not same and recorded is not None:
        raise CheckFailed(
            f"training recorded {recorded.test_correct} correct, now it is {result.correct}: "
            "another data set, torch version or machine"
        )


def predict(
    model: Annotated[str, typer.Argument(help="A run's path or a model's name.")],
    image: Annotated[Path, typer.Argument(help="An image file; digits are light on dark.")],
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Name the class of an image."""
    from compile.report import show, to_json
    from zoo.errors import UsageError
    from zoo.source import resolve
    from zoo.train import predict as predict_image

    source = resolve(model, runs=runs)
    if source.run is None:
        raise UsageError(f"'{model}' has no run to predict with; run `zoo train {model}`")
    best = predict_image(source.run, image)
    if json:
        classes = [{"class": name, "probability": value} for name, value in best]
        print(to_json({"image": str(image), "run": source.origin, "classes": classes}), end="")
        return
    others = ", ".join(f"{name} {100 * value:.1f} %" for name, value in best[1:])
    show(
        f"{image}: {best[0][0]} ({100 * best[0][1]:.1f} %; then {others})",
        "next: zoo compile --backend all",
    )


COMMANDS = {"list": list_, "train": train, "eval": eval_, "predict": predict}
