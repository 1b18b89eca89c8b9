"""zoo list: what it shows, its filters, its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.cli import _run
from zoo.cli.list_ import amount
from zoo.errors import UsageError
from zoo.models import info, names


def listed(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capfd.readouterr()
    assert _run(["list", *arguments, "--json"]) == 0
    return [model["name"] for model in json.loads(capfd.readouterr().out)["models"]]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_every_network_on_eighty_columns(capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(["list"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    assert set(names()) < {line.split(" ")[0] for line in lines}
    assert "runs: none" in lines and "artifacts: none" in lines
    row = next(line for line in lines if line.startswith("resnet50 "))
    assert row.split() == ["resnet50", "50", "25.6", "M", "4.09", "224", "ResNet,", "1512.03385"]


def test_json_has_exact_figures(capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(["list", "resnet20", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert set(document) == {"models", "runs", "unfinished", "artifacts", "pending"}
    model = next(model for model in document["models"] if model["name"] == "resnet20")
    assert (model["parameters"], model["macs"]) == (269_722, 40_551_040)
    assert (model["shape"], model["num_classes"], model["depth"]) == ([3, 32, 32], 10, 20)


def test_filters(capfd: pytest.CaptureFixture[str]) -> None:
    assert listed(capfd) == names()
    assert listed(capfd, "resnet50?") == ["resnet50c", "resnet50d", "resnet50s", "resnet50t"]
    assert "wide_resnet50_2" in listed(capfd, "resnet50")
    assert set(listed(capfd, "--family", "cifar")) == {
        f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)
    }
    small = listed(capfd, "--max-params", "853018")
    assert "resnet56" in small and "resnet110" not in small
    assert listed(capfd, "resnet*", "--max-macs", "0.1G") == ["resnet20", "resnet32", "resnet44"]


def test_a_filter_leaves_runs_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(["list", "plain*"]) == 0
    printed = capfd.readouterr().out
    assert "runs:" not in printed and "next: zoo train plain18" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vgg"], "zoo list"),
        (["--family", "vgg"], "cifar, ecanet"),
        (["--max-params", "many"], "30M"),
        (["--max-macs", "-3"], "--max-macs"),
        (["resnet18", "--max-params", "1k"], "no network"),
    ],
)
def test_errors(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(["list", *arguments]) == 2
    err = capfd.readouterr().err
    assert words in err and len(err.splitlines()) == 1


def test_amounts() -> None:
    values = [amount("--x", text) for text in ("30M", "4.5G", "500k", "12", None)]
    assert values == [30e6, 4.5e9, 5e5, 12, float("inf")]
    for text in ("", "M", "nan", "inf", "1T"):
        with pytest.raises(UsageError, match="--x"):
            amount("--x", text)


def test_info_and_list_agree() -> None:
    assert info("resnet18").parameters == 11_689_512
