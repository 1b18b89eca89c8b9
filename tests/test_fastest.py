"""zoo compile --backend fastest: it builds, compares, and keeps one with the evidence."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zoo
from compile.artifact.manifest import read_manifest
from compile.artifact.publishing import find_artifacts
from compile.artifact.reading import open_artifact
from compile.backends import BACKENDS
from compile.errors import CheckFailed, UsageError
from compile.measure import compare
from compile.measure.fastest import ratio_of
from compile.runner import call_runner
from tests.support.networks import SHAPE, small_net
from zoo.cli import _run, cells
from zoo.cli.cells import plan
from zoo.cli.inspect import inspect_lines

TWO = {name: BACKENDS[name] for name in ("eager", "torchscript", "openvino")}
"""Backends that build within seconds; zoo-run has no engine for the first."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two candidates, and rounds as few and as short as they can be."""
    for name in BACKENDS.keys() - TWO.keys():
        monkeypatch.delitem(BACKENDS, name)
    short = partial(compare.compare, duration=0.1, rounds=6)
    monkeypatch.setattr(compare, "compare", short)


def run(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of zoo compile on a small network."""
    capfd.readouterr()
    network = ["tests.support.networks:small_net", "--input", "1x2x8x8"]
    code = _run(["compile", *network, *map(str, words)])
    out, err = capfd.readouterr()
    return code, out, err


def test_the_winner_stays_with_the_evidence(
    quick: None, runner: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--out", tmp_path, "--runner", runner, "--threads", 1]
    code, out, err = run(capfd, "--backend", "fastest", *where, "--json")
    assert code == 0, err
    document = json.loads(out)
    best = Path(document["path"])
    assert find_artifacts(tmp_path) == [best]
    assert [Path(each).name for each in document["removed"]] == [
        each["artifact"] for each in document["chosen"]["candidates"] if each["ratio"] is not None
    ]
    evidence = read_manifest(best)["evidence"]
    assert evidence == document["chosen"]
    assert open_artifact(best).manifest["status"] == "proved"
    assert {each["backend"] for each in evidence["candidates"]} == {"torchscript", "openvino"}
    assert evidence["left_out"] == [
        {"backend": "eager", "precision": "fp32", "reason": "zoo-run has no engine for it"}
    ]
    first, second = document["comparison"]["programs"]
    ratio = ratio_of(second["rounds_ms"], first["rounds_ms"])
    assert ratio.value == pytest.approx(second["ratio"]["value"], abs=2e-9)
    assert ratio.interval == pytest.approx(second["ratio"]["interval"], abs=2e-9)
    assert ratio.verdict == second["ratio"]["verdict"]
    call_runner(runner, [str(best), "--check", "--quiet"])
    said = [
        line for line in inspect_lines(best, read_manifest(best), None) if "chosen" in str(line)
    ]
    assert said and "for latency at batch 1" in said[0]
    report = tmp_path / "fastest.json"
    report.write_text(out)
    page = tmp_path / "page.html"
    assert _run(["report", str(report), "--html", str(page)]) == 0
    assert "Latency, error and size" in page.read_text()


def test_what_stood_there_before_is_never_removed(
    quick: None, runner: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--out", tmp_path, "--runner", runner, "--threads", 1]
    assert run(capfd, "--backend", "torchscript", *where)[0] == 0
    code, out, err = run(capfd, "--backend", "fastest", "--for", "throughput", *where, "--force")
    assert code == 0, err
    names = {path.name.partition("-")[0] for path in find_artifacts(tmp_path)}
    assert "torchscript" in names, "it was built again, in the place of one that stood there"
    lines = out.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines if "/" not in line), out
    assert lines[-1].startswith("next: zoo check ")
    assert sum(line.startswith("take ") for line in lines) == 1
    code, _, err = run(capfd, "--backend", "fastest", *where, "--keep-all")
    assert code == 0, err
    assert len(find_artifacts(tmp_path)) == 2


def test_a_candidate_that_breaks_does_not_end_the_others(
    quick: None,
    runner: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from compile.backends import openvino

    def broken(*given: Any) -> Any:
        raise RuntimeError("no room in the kernel")

    monkeypatch.setattr(openvino, "build", broken)
    where = ["--out", tmp_path, "--runner", runner, "--threads", 1]
    code, out, err = run(capfd, "--backend", "fastest", *where)
    assert code == 0, err
    said = " ".join(out.split())
    assert "FAILED openvino fp32: openvino could not build it: no room in the kernel" in said
    assert "the only one that can be taken" in said
    assert "eager: zoo-run has no engine for it" in said
    (best,) = find_artifacts(tmp_path)
    (lost,) = (e for e in read_manifest(best)["evidence"]["left_out"] if e["backend"] != "eager")
    assert "no room in the kernel" in lost["reason"]


def test_lowered_precisions_need_labelled_images_to_be_judged(
    quick: None, runner: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--out", tmp_path, "--runner", runner, "--backend", "fastest"]
    code, _, err = run(capfd, *words, "--precision", "int8,bf16", "--max-accuracy-loss", "1")
    assert code == 4
    assert "there are no labelled test images, so what bf16 loses is not known" in err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--for throughput", "--for is for --backend fastest; leave it out"),
        ("--keep-all", "--keep-all is for --backend fastest; leave it out"),
        ("--max-accuracy-loss 1", "--max-accuracy-loss is for --backend fastest; leave it out"),
        ("--backend fastest --for fun", "unknown goal 'fun'; choose one of: latency, throughput"),
        (
            "--backend fastest --accept-error 3x",
            "--backend fastest chooses among artifacts that are proved: leave out --accept-error",
        ),
        ("--precision fp32,int9", "unknown precision 'int9'"),
        ("--backend onnx,all", "unknown backend 'all'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    words: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capfd, *words.split())
    assert code == 2 and err.startswith(f"zoo: {reason}") and len(err.splitlines()) == 1


def test_a_cpu_that_only_emulates_a_precision_builds_it_if_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from compile import machine

    def bf16(flags: set[str], precision: str) -> list[str | None]:
        monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
        rows = plan("torchscript", precision, None)
        return [cell.refused for cell in rows if cell.precision == "bf16"]

    (reason,) = bf16({"avx512f"}, "all")
    assert reason is not None and reason.startswith("this CPU only emulates bf16, as it has no ")
    assert reason.endswith("--precision bf16 builds it")
    assert bf16({"avx512_bf16"}, "all") == bf16({"amx_bf16"}, "all") == [None]
    assert bf16({"avx512f"}, "bf16") == bf16({"avx512f"}, "fp32,bf16") == [None]


def test_several_backends_have_commas_between_them() -> None:
    rows = plan("torchscript,onnx,torchscript", "fp32,fp8", None)
    assert [(row.backend, row.precision) for row in rows] == [
        *(("torchscript", "fp32"), ("torchscript", "fp8")),
        *(("onnx", "fp32"), ("onnx", "fp8")),
    ]
    assert all((row.refused is None) is (row.precision == "fp32") for row in rows)


def test_one_reason_is_said_once() -> None:
    rows = [cells.Cell(backend=name, precision="x", device="cpu") for name in ("a", "b", "b", "c")]
    for row in rows:
        row.refused = "is not here"
    rows[3].refused = None
    assert cells.refusals(rows) == ["a, b: is not here"]


def test_the_function_keeps_the_fastest_too(quick: None, runner: Path, tmp_path: Path) -> None:
    where: dict[str, Any] = {"root": tmp_path, "runner": runner, "shape": SHAPE}
    result = zoo.compile(small_net(), backend="fastest", keep_all=True, **where)
    assert len(find_artifacts(tmp_path)) == 2 and result.path in find_artifacts(tmp_path)
    evidence = result.manifest["evidence"]
    assert (evidence["chosen"], evidence["goal"]) == (result.path.name, "latency")
    assert read_manifest(result.path) == result.manifest
    with pytest.raises(
        CheckFailed, match=r"no candidate could be built: .*no labelled test images"
    ):
        zoo.compile(
            small_net(), backend="fastest", precision="bf16", max_accuracy_loss=1.0, **where
        )
    with pytest.raises(UsageError, match="are for backend='fastest'; leave them out"):
        zoo.compile(small_net(), backend="eager", max_accuracy_loss=1.0, **where)
    with pytest.raises(UsageError, match="leave out accept_error"):
        zoo.compile(small_net(), backend="fastest", accept_error=True, **where)
