"""Options of the commands: their help, their defaults, and the words that mean them again."""

from __future__ import annotations

import random
import re
import shlex
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, get_args

import pytest
from typer import Argument, Option

from compile.backends import BACKENDS
from compile.precision import PRECISIONS
from zoo.cli import COMMANDS, _run
from zoo.cli.cells import Cell
from zoo.cli.check import Check
from zoo.cli.command import Command, Parameter, changed, parameters, parse, words
from zoo.cli.compile import Compile
from zoo.cli.compile_options import OF_THE_CALL, rebuild_command, rebuilding
from zoo.cli.train import Train
from zoo.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Greet(Command):
    """Greet somebody."""

    name: Annotated[str, Argument()]
    """Whom to greet."""
    times: Annotated[int, Option(min=1)] = 1
    """How
    often."""
    set_: tuple[str, ...] = ()
    """Manners; repeatable."""
    loud_voice: bool = False
    """Shout."""


def help_of(command: str, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert _run([command, "--help"]) == 0
    return capfd.readouterr().out


def drawn(each: Parameter, draw: random.Random) -> Any:
    """Some value that the option takes."""
    kinds = {kind for kind in (each.kind, *get_args(each.kind)) if isinstance(kind, type)}
    least = each.info.min or 0
    if bool in kinds:
        return draw.random() < 0.5
    if get_args(each.kind)[1:] == (...,):
        texts = draw.choices(["lr=0.1", "a b=c", "--flag", "-"], k=draw.randrange(3))
        return tuple(map(get_args(each.kind)[0], texts))
    if int in kinds:
        return int(least) + draw.randrange(9)
    if float in kinds:
        return least + draw.random()
    text = draw.choice(["plain", "two words", "it's", "$HOME", "a/b-c", "--x"])
    return Path(text) if Path in kinds else text


def some_options(command: type[Command], seed: int) -> Command:
    """Options of which about half differ from their defaults."""
    draw = random.Random(seed)
    given = {
        each.name: drawn(each, draw)
        for each in parameters(command)
        if each.default is MISSING or draw.random() < 0.5
    }
    return command(**given)


def test_the_rows_are_the_fields() -> None:
    rows = {each.name: each for each in parameters(Greet)}
    assert list(rows) == ["name", "times", "set_", "loud_voice"]
    assert [each.flag for each in rows.values()] == [None, "--times", "--set", "--loud-voice"]
    assert rows["times"].info.help == "How often."
    assert rows["name"].default is MISSING and rows["times"].default == 1


def test_words_mean_the_options() -> None:
    options = Greet(name="Ann", set_=("a=1", "b c"), loud_voice=True)
    said = words(options)
    assert said == ["Ann", "--times", "1", "--set", "a=1", "--set", "b c", "--loud-voice"]
    assert parse(Greet, said) == options
    assert words(options, without=("times", "set_")) == ["Ann", "--loud-voice"]
    assert changed(options, without=("name",)) == ["--set", "--loud-voice"]
    assert changed(Greet(name="Ann")) == ["name"]


@pytest.mark.parametrize(
    "wrong", [[], ["Ann", "--times", "0"], ["Ann", "--times", "x"], ["Ann", "--help"], ["A", "B"]]
)
def test_words_that_mean_nothing(wrong: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        parse(Greet, wrong)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_words_mean_the_options_of_every_command(name: str) -> None:
    for seed in range(20):
        options = some_options(COMMANDS[name], seed)
        assert parse(COMMANDS[name], words(options)) == options


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_option_with_its_text_and_default(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = help_of(name, capfd)
    assert max(map(len, printed.splitlines())) <= 80
    described, *entries = re.split(r"\n  (?=\S)", printed)[1:]
    assert described.startswith(str(COMMANDS[name].__doc__))
    rows = {entry.split()[0].rstrip("."): " ".join(entry.split()) for entry in entries}
    assert {each.flag or each.name for each in parameters(COMMANDS[name])} == {*rows} - {"-h,"}
    for each in parameters(COMMANDS[name]):
        assert each.info.help and each.info.help.endswith((".", "..."))
        _, found, stated = rows[each.flag or each.name].partition(f" {each.info.help}")
        assert found, f"another text than that of {each.name}"
        if each.default is MISSING:
            assert stated.startswith(" [required]")
        elif isinstance(each.info.show_default, str):
            assert stated.startswith(f" [default: ({each.info.show_default})")
        elif each.default is None or each.default is False or each.default == ():
            assert not stated.startswith((" [default", " [required"))
        else:
            assert stated.startswith(f" [default: {each.default}")


def test_a_shared_option_has_one_meaning() -> None:
    rows: dict[str, set[tuple[str, str, object]]] = {}
    for command in COMMANDS.values():
        for each in parameters(command):
            row = (str(each.kind), str(each.info.help), each.info.min)
            rows.setdefault(each.flag or each.name, set()).add(row)
    for flag in ("--runs", "--seed", "--device", "--threads", "--runner", "--json", "--quiet"):
        assert len(rows[flag]) == 1, flag


def test_compile_names_every_backend_and_precision(capfd: pytest.CaptureFixture[str]) -> None:
    said = " ".join(help_of("compile", capfd).split())
    assert f"{', '.join(BACKENDS)} or all." in said
    assert f"{', '.join(PRECISIONS)} or all" in said


SOURCES = {
    "a run": SimpleNamespace(
        run=SimpleNamespace(folder=Path("my runs/resnet18/1")), untrained=False, shape=(1, 8, 8)
    ),
    "seeded weights": SimpleNamespace(run=None, untrained=True, shape=(3, 224, 224)),
    "other code": SimpleNamespace(run=None, untrained=False, shape=(3, 16, 16)),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("cell", ["onnx fp32", "inductor bf16", "openvino int8", "tensorrt fp8"])
def test_the_command_in_the_manifest_means_the_options(name: str, cell: str) -> None:
    source: Any = SOURCES[name]
    backend, precision = cell.split()
    row = Cell(backend=backend, precision=precision, device="cpu")
    quantised = precision in ("int8", "fp8")
    defaults = {each.name: each.default for each in parameters(Compile)}
    left_out = {key: defaults[key] for key in (*OF_THE_CALL, *(() if quantised else ["samples"]))}
    for seed in range(10):
        options = some_options(Compile, seed)
        assert isinstance(options, Compile)
        options = replace(options, model="timm:resnet50d")
        first, second, *rest = shlex.split(rebuild_command(options, row, source))
        assert (first, second) == ("zoo", "compile")
        again = parse(Compile, rest)
        assert again == replace(rebuilding(options, row, source), **left_out)
        assert (again.backend, again.precision, again.device) == (backend, precision, "cpu")
        assert (again.batch, again.seed) == (options.batch, options.seed)
        assert again.target == (options.target if backend == "inductor" else "native")
        assert again.portable is (options.portable and backend == "tensorrt")
        assert again.calibrate == (options.calibrate if quantised else None)
        rebuilding(options, row, source)._check_effects([row])
        assert again.model == ("my runs/resnet18/1" if name == "a run" else "timm:resnet50d")
        assert again.fresh is (name == "seeded weights")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("--calibrate images", "--calibrate has an effect for int8 and fp8 alone; leave it out"),
        ("--samples 8", "--samples has an effect for int8 and fp8 alone; leave it out"),
        (
            "--backend onnx --target x86-64-v3",
            "--target has an effect for the backend inductor alone; leave it out",
        ),
    ],
)
def test_an_option_without_effect_is_refused(
    given: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(["compile", "resnet20", "--fresh", *given.split()]) == 2
    assert capfd.readouterr().err == f"zoo: {reason}\n"


def test_an_option_with_an_effect_in_one_cell_is_taken() -> None:
    wanted = Compile(backend="all", precision="all", target="x86-64-v3", calibrate=Path("images"))
    wanted._check_effects(wanted.plan())


def test_resume_takes_no_option_that_says_what_to_train(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = "resume out device threads workers save_every json quiet".split()
    given = {"--epochs": "3", "--recipe": "paper", "--seed": "1", "--set": "lr=1", "--data": "x"}
    for flag, value in given.items():
        assert _run(["train", "--resume", str(tmp_path), flag, value]) == 2
        assert f"leave out {flag}\n" in capfd.readouterr().err
    for each in parameters(Train):
        options = replace(Train(resume=tmp_path), **{each.name: drawn(each, random.Random(3))})
        if each.name in kept or getattr(options, each.name) == each.default:
            continue
        with pytest.raises(UsageError, match="--resume"):
            options.run()
    with pytest.raises(UsageError, match="no unfinished run"):
        Train(resume=tmp_path, workers=2, save_every=1.0, quiet=True).run()


def test_the_next_command_is_about_the_same_artifacts() -> None:
    asked = Check(what="resnet20", out=Path("else where"))
    assert asked.next_line("bench", *asked.asked()) == "next: zoo bench resnet20 --out 'else where'"
    assert Check(all_=True).next_line("bench", *Check(all_=True).asked()) == "next: zoo bench --all"
    assert Check().next_line("bench", *Check().asked()) == "next: zoo bench"
