"""The README and the guide: their commands parse, their Python runs, and the README stays short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from results.resnet50 import Measured, left_out, put_into, table
from tests.support.layout import ROOT
from zoo.cli import app

README, GUIDE = ROOT / "README.md", ROOT / "docs" / "guide.md"


def fenced(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def command_lines(page: Path) -> list[list[str]]:
    """Each line of the page's shell blocks, in words, without its comment."""
    lines = "".join(fenced(page, "sh")).splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line]


def parse(arguments: list[str]) -> None:
    """Let the command line read `arguments` and run nothing; raises where it would refuse them."""
    group: Any = typer.main.get_command(app)
    with group.make_context("zoo", list(arguments)) as context:
        name, command, rest = group.resolve_command(context, arguments)
        assert command is not None
        command.make_context(name, rest)


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.name)
def test_every_command_of_a_page_parses(page: Path) -> None:
    options = next((ROOT / "runtime_cpp" / "src").rglob("options.cpp")).read_text()
    recipes = set(re.findall(r"^([a-z][\w-]*).*:", (ROOT / "justfile").read_text(), re.MULTILINE))
    seen = set()
    for program, *arguments in command_lines(page):
        seen.add(program)
        if program == "zoo":
            parse(arguments)
        elif program == "zoo-run":
            assert all(f'"{word}"' in options for word in arguments if word.startswith("-"))
        elif program == "./setup":
            assert set(arguments) <= recipes
        else:
            assert [program, *arguments] == [".", ".venv/bin/activate"]
    assert {"zoo", "zoo-run"} <= seen


def test_a_wrong_command_is_found() -> None:
    for words in ("trian resnet18", "train resnet18 --epoch 3", "bench --duration soon"):
        with pytest.raises(Exception, match=r"No such|valid number"):
            parse(words.split())


QUICK = {
    '"resnet18")': '"resnet20", epochs=1, quiet=True)',
    'backend="inductor", precision="bf16"': 'backend="torchscript"',
    "zoo.bench(artifact)": "zoo.bench(artifact, iterations=2, threads=1)",
}
"""What makes the README's Python quick enough for a test."""


@pytest.mark.usefixtures("runner")  # up to date, where there is one
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = fenced(README, "python")
    assert all(long in code for long in QUICK)
    for long, quick in QUICK.items():
        code = code.replace(long, quick)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"images": torch.zeros(1, 1, 8, 8)}
    exec(code, names)
    assert names["scores"].shape == (1, 10)  # type: ignore[attr-defined]
    assert {row.verdict for row in names["rows"]} == {"PASSED"}  # type: ignore[attr-defined]
    assert names["report"]["python"]["verdict"] in ("VALID", "INVALID")  # type: ignore[index]


@pytest.mark.usefixtures("runner")
def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = fenced(GUIDE, "python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"images": torch.zeros(1, 3, 32, 32)}
    exec(code, names)
    assert names["classifier"].shape == (3, 32, 32)  # type: ignore[attr-defined]
    shapes = {name: tuple(each.shape) for name, each in names["maps"].items()}  # type: ignore[attr-defined]
    assert shapes == {"c3": (1, 128, 16, 16), "c4": (1, 256, 8, 8)}


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def measured(name: str, median: float, verdict: str, *, passed: bool = True) -> Measured:
    latency = {"median": median, "median_interval": [median - 1, median + 1], "p90": None}
    report = {
        "backend": name,
        "precision": "fp32",
        "latency_ms": latency,
        "throughput_per_s": 20.0,
        "verdict": verdict,
        "reasons": ["drift"] if verdict == "INVALID" else [],
        "conditions": {"cpu": "A", "threads": 2, "torch": "2.13.0", "commit": "0" * 12}
        | {"date": "2026-01-02T03:04:05Z"},
    }
    return Measured(
        artifact=name, megabytes=1.0, error=0.5, passed=passed, ran_in="zoo-run", report=report
    )


def test_the_table_of_resnet50_holds_what_is_valid() -> None:
    rows = [
        measured("slow", 50.0, "VALID"),
        measured("fast", 40.0, "VALID"),
        measured("drifting", 30.0, "INVALID"),
        measured("wrong", 20.0, "VALID", passed=False),
    ]
    made = table(rows)
    assert made.index("| fast |") < made.index("| slow | fp32 | 50.0 +-2.0 % | - |")
    assert "drifting" not in made and "wrong" not in made
    assert "2026-01-02: A, 2 threads, torch 2.13.0, commit 0000000" in made
    assert "- drifting: drift\n- wrong: it failed its proof\n" in left_out(rows)
    assert left_out(rows[:2]) == "" and table(rows[2:]).startswith("No measurement")


def test_the_readme_has_a_place_for_the_table() -> None:
    text = README.read_text()
    once = put_into(text, "| a |\n")
    assert "\n<!-- resnet50 -->\n| a |\n<!-- resnet50 ends -->\n" in once
    assert put_into(once, "| a |\n") == once
