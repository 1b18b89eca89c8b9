"""zoo train, eval, predict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.options import (
    RUNS,
    Json,
    Model,
    Out,
    Quiet,
    Runs,
    Seed,
    Threads,
    TrainingDevice,
    check_device,
    set_threads,
)


def train(
    model: Annotated[
        str | None, typer.Argument(help="A name that `zoo list` shows.", show_default=False)
    ] = None,
    data: Annotated[
        str,
        typer.Option(help="digits, cifar10[:FOLDER], cifar100[:FOLDER], synthetic or a folder."),
    ] = "digits",
    size: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Image size.", show_default="the data's")
    ] = None,
    recipe: Annotated[str, typer.Option(help="A recipe's name: fast, paper, rsb-a3, ...")] = "fast",
    epochs: Annotated[
        int | None, typer.Option(min=1, max=100_000, show_default="the recipe's")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16.", show_default="the recipe's")
    ] = None,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the network for training first.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field of the recipe, such as lr=0.05; repeatable."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the network, such as shortcut=B; repeatable."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an unfinished run.", show_default=False)
    ] = None,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Keep the newest run if the same made it.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be read.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, max=256, help="Decoding processes.", show_default="cores")
    ] = None,
    save_every: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds between saved states.")
    ] = 30.0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Measure the training's speed; train nothing.")
    ] = False,
    out: Out = RUNS,
    seed: Seed = 0,
    device: TrainingDevice = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network, or go on with a training that was stopped."""
    from zoo.cli.trainings import Order, profile_training, run_training
    from zoo.errors import UsageError

    if (model is None) == (resume is None):
        raise UsageError("give a model's name or --resume RUN; `zoo list` shows both")
    changed = (set_, option, epochs, precision, compile_, if_needed, skip_bad, size, profile, seed)
    if resume is not None and (any(changed) or (data, recipe) != ("digits", "fast")):
        raise UsageError(
            "--resume goes on with the data, recipe, network and seed that the run began with; "
            "leave their options out"
        )
    check_device(device or "cpu")
    set_threads(threads)
    order = Order(
        model=model,
        data=data,
        size=size,
        recipe=recipe,
        settings=[
            *(set_ or []),
            *([f"epochs={epochs}"] if epochs else []),
            *([f"precision={precision}"] if precision else []),
            *(["compile=true"] if compile_ else []),
        ],
        options=option or [],
        seed=seed,
        out=out,
        device=device,
        workers=workers,
        skip_bad=skip_bad,
        save_every=save_every,
        quiet=quiet or json,
        json=json,
    )
    if profile:
        profile_training(order)
    else:
        run_training(order, resume=resume, if_needed=if_needed)


def eval_(
    model: Model = None,
    runs: Runs = RUNS,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure a run's test accuracy again."""
    from compile.report import percent, show, to_json
    from zoo.errors import CheckFailed, UsageError
    from zoo.sources.source import resolve
    from zoo.training.evaluate import evaluate

    set_threads(threads)
    source = resolve(model, runs=runs)
    data = source.data()
    if source.run is None or data is None:
        raise UsageError(f"{source.origin} has no data set; give a run, or train one")
    result = evaluate(source.network, data.test)
    recorded = source.run.config.results
    # A GPU rounds otherwise, which may decide an image or two.
    allowed = 0 if source.run.config.device == "cpu" else max(1, result.total // 500)
    same = recorded is None or abs(recorded.test_correct - result.correct) <= allowed
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
    from zoo.sources.source import resolve
    from zoo.training.evaluate import predict as predict_image

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


COMMANDS = {"train": train, "eval": eval_, "predict": predict}
