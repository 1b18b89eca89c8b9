"""What zoo bisect takes an artifact's network from, and which artifacts it is offered for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.cli.artifact_source import find_source
from zoo.cli.selecting import can_bisect
from zoo.errors import BadArtifact, UsageError
from zoo.sources import source

ARTIFACT = Path("artifacts/some net/onnx-fp32-b1-cpu")


def manifest_of(source: str, name: str = "resnet20") -> dict[str, Any]:
    return {
        "model": {"name": name, "source": source, "weights_sha256": "0" * 64},
        "inputs": [{"dtype": "float32", "shape": [3, 8, 8]}],
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, bool, int]]:
    """What zoo.sources.source.resolve is asked for: MODEL, fresh and seed."""
    found: list[tuple[str, bool, int]] = []

    def resolve(model: str, *, fresh: bool, seed: int, **_: Any) -> None:
        found.append((model, fresh, seed))

    monkeypatch.setattr(source, "resolve", resolve)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a fresh run").mkdir()
    (tmp_path / "a fresh run" / "config.json").write_text("{}")
    return found


@pytest.mark.parametrize(
    ("source", "model", "expected"),
    [
        ("fresh:seed=7", None, ("resnet20", True, 7)),
        ("fresh:seed=7", "resnet20", ("resnet20", True, 7)),
        ("fresh:seed=7", "my.nets:make", ("my.nets:make", False, 0)),
        ("timm:resnet18.a1_in1k", None, ("timm:resnet18.a1_in1k", False, 0)),
        ("timm:resnet18 fresh:seed=3", None, ("timm:resnet18", True, 3)),
        ("timm:refresh.in1k", None, ("timm:refresh.in1k", False, 0)),
        ("my.refresh:make seed=4", "my.refresh:make", ("my.refresh:make", False, 4)),
        ("fresh:make seed=4", "fresh:make", ("fresh:make", False, 4)),
        ("my.nets:make seed=4 fresh", "my.nets:make", ("my.nets:make", True, 4)),
        ("my.nets:make seed=4 fresh", "your.nets:make", ("your.nets:make", True, 4)),
        ("my.nets:make seed=4 fresh", "resnet20", ("resnet20", False, 0)),
        ("/gone/a fresh run", "resnet20", ("resnet20", False, 0)),
        ("a fresh run", "resnet20", ("resnet20", False, 0)),
        ("module", "my.nets:make", ("my.nets:make", False, 0)),
    ],
)
def test_what_a_network_is_taken_from(
    source: str, model: str | None, expected: tuple[str, bool, int], asked: list[Any]
) -> None:
    find_source(ARTIFACT, manifest_of(source), model, Path("nowhere"))
    assert asked == [expected]


def test_a_run_is_taken_from_its_folder(asked: list[Any], tmp_path: Path) -> None:
    find_source(ARTIFACT, manifest_of("a fresh run"), None, Path("nowhere"))
    assert asked == [(str(tmp_path / "a fresh run"), False, 0)]


@pytest.mark.parametrize(
    "source", ["my.nets:make seed=0", "my.nets:make seed=0 fresh", "my.nets:make", "a:b.c"]
)
def test_code_is_taken_from_the_command_line_alone(source: str, asked: list[Any]) -> None:
    with pytest.raises(UsageError) as caught:
        find_source(ARTIFACT, manifest_of(source), None, Path("nowhere"))
    name = source.partition(" ")[0]
    assert f"`zoo bisect '{ARTIFACT}' --model {name}`" in str(caught.value)
    assert asked == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/gone/resnet18/a", "resnet18"),
        ("/gone/pkg:name/a", "resnet18"),
        ("module", "resnet18"),
        ("fresh:seed=0", "evilmod:go"),
        ("fresh:seed=0", "timm:resnet18"),
        ("fresh:seed=0", "no such"),
        ("evil:go; seed=0", "resnet18"),
    ],
)
def test_what_is_not_here_is_asked_for(source: str, name: str, asked: list[Any]) -> None:
    with pytest.raises(BadArtifact, match="--model"):
        find_source(ARTIFACT, manifest_of(source, name), None, Path("nowhere"))
    assert asked == []


@pytest.mark.parametrize(
    ("backend", "precision", "device", "expected"),
    [
        ("onnx", "fp32", "cpu", True),
        ("inductor", "bf16", "cpu", True),
        ("inductor", "int8", "cpu", True),
        ("inductor", "fp16", "cuda", False),
        ("tensorrt", "fp8", "cuda", False),
        ("tensorrt-plan", "fp32", "cuda", False),
    ],
)
def test_which_artifacts_bisect_is_offered_for(
    backend: str, precision: str, device: str, expected: bool
) -> None:
    assert can_bisect({"backend": backend, "precision": precision, "device": device}) is expected
