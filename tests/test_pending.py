"""An artifact that was built for another machine: nothing runs it before it was proved there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compile.api import compile_module, load
from compile.artifact import status
from compile.artifact.manifest import Manifest
from compile.artifact.reading import verify_artifact
from compile.artifact.status import is_proved_here, record_proof
from compile.backends import torchscript
from compile.errors import BadArtifact, Unavailable
from compile.measure.bench import bench, measure_here
from compile.proof.check import check_artifact
from compile.runner import find_runner
from compile.spec import CompileSpec
from tests.support.forgery import rewrite
from tests.support.networks import SHAPE, small_net
from tests.test_status import pending
from zoo.cli import _run

REFUSED = (
    "{0} has not been proved on this machine: it was built for {1}; "
    "run zoo check {0} or zoo-run {0} --check on such a {2}"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    spec = CompileSpec(shape=SHAPE)
    return compile_module(small_net(), spec, backend="torchscript", root=root).path


def for_gpus(manifest: Manifest) -> None:
    pending(manifest)
    manifest["device"] = "cuda"
    manifest["requirements"]["gpu_arch"] = "sm_89,sm_120"


def for_a_cpu(manifest: Manifest) -> None:
    """Of a level with a flag that no machine of today has."""
    pending(manifest)
    manifest["target"] = {"name": "sapphirerapids", "cpuid": ["avx2", "avx_of_tomorrow"]}
    manifest["requirements"]["isa"] = ["avx2", "avx_of_tomorrow"]


KINDS: dict[str, tuple[Callable[[Manifest], None], str, str]] = {
    "GPU": (for_gpus, "sm_89, sm_120", "needs an NVIDIA GPU with its driver"),
    "CPU": (for_a_cpu, "sapphirerapids", "this CPU lacks avx_of_tomorrow"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def copy_of(built: Path, folder: Path, kind: str) -> Path:
    place = Path(shutil.copytree(built, folder / built.parent.name / built.name))
    rewrite(place, KINDS[kind][0])
    return place


@pytest.fixture
def unproved(built: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact for what this machine has not; no loader may be given its program."""

    def loads(*_: object) -> None:
        raise AssertionError("a program that was never proved was loaded")

    monkeypatch.setattr(torchscript, "load", loads)
    return copy_of(built, tmp_path, kind)


def refusal(unproved: Path, kind: str) -> str:
    return REFUSED.format(unproved, KINDS[kind][1], kind)


# On a machine that is not the one it was built for


def test_nothing_in_python_runs_it(unproved: Path, kind: str, tmp_path: Path) -> None:
    for use in (
        lambda: load(unproved),
        lambda: bench(unproved, None),
        lambda: measure_here(unproved, duration=0.01, iterations=1, threads=1),
    ):
        with pytest.raises(BadArtifact) as error:
            use()
        assert str(error.value) == refusal(unproved, kind)


def test_no_command_runs_it(
    unproved: Path,
    kind: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zoo.cli.bench.ready_runner", lambda _given: None)
    for command in (
        ["bench", str(unproved)],
        ["export", str(unproved), "--triton", str(tmp_path / "models")],
    ):
        assert _run(command) == 3, command
        assert refusal(unproved, kind) in capfd.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_check_says_what_this_machine_lacks(unproved: Path, kind: str) -> None:
    with pytest.raises((BadArtifact, Unavailable), match=KINDS[kind][2]):
        check_artifact(unproved, None)
    assert not list(unproved.parent.glob("*.json"))


def test_a_proof_that_somebody_wrote_makes_no_other_machine_of_this_one(
    unproved: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_machine", lambda device: "one like it")
    record_proof(verify_artifact(unproved))
    with pytest.raises((BadArtifact, Unavailable), match=KINDS[kind][2]):
        load(unproved)


def test_inspect_and_list_show_it(
    unproved: Path, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(["inspect", str(unproved)]) == 0
    text = " ".join(capfd.readouterr().out.split())
    assert f"status pending: it has never run here; a check on a machine with such a {kind}" in text
    assert "parity not measured when it was built" in text
    assert f"here {KINDS[kind][2]}" in text.replace(f"{unproved} ", "")
    assert _run(["list", "--out", str(tmp_path)]) == 0
    assert f"{unproved.name} (pending)" in " ".join(capfd.readouterr().out.split())
    assert _run(["list", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["pending"] == [str(unproved)]


@pytest.mark.skipif(find_runner() is None, reason="no zoo-run; `just runner` builds it")
def test_zoo_run_runs_it_no_more_than_python_does(unproved: Path, kind: str) -> None:
    def say(*options: str) -> tuple[int, str]:
        command = [str(find_runner()), str(unproved), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr.strip()

    assert say("--iterations", "1") == (3, f"zoo-run: {refusal(unproved, kind)}")
    for option in ("--check", "--unproved"):
        code, error = say(option)
        assert code == (4 if kind == "GPU" else 3) and "\n" not in error
        assert "GPU" in error if kind == "GPU" else "lacks avx_of_tomorrow" in error
    assert not list(unproved.parent.glob("*.json"))


# On the right machine


class Gpu:
    """What torch and the driver say of a GPU."""

    name, capability, driver = "NVIDIA L4", (8, 9), "580.95.05"


def stand_in_gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """Let torch and the driver say that there is this GPU."""
    here = Gpu()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: here.name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: here.capability)
    monkeypatch.setattr(status, "_driver", lambda: here.driver)
    return here


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return stand_in_gpu(monkeypatch)


def test_a_proof_is_about_this_manifest_gpu_and_driver(
    gpu: Gpu, built: Path, tmp_path: Path
) -> None:
    path = copy_of(built, tmp_path, "GPU")
    artifact = verify_artifact(path)
    assert not is_proved_here(artifact)
    record_proof(artifact)
    assert is_proved_here(artifact)
    entry = json.loads(path.with_name(f"proof-{path.name}.json").read_text())
    assert entry["machine"] == "cuda: NVIDIA L4, sm_89, driver 580.95.05"
    for name, other in (
        ("name", "NVIDIA L40S"),
        ("capability", (12, 0)),
        ("driver", "590.10"),
    ):
        before = getattr(gpu, name)
        setattr(gpu, name, other)
        assert not is_proved_here(artifact), name
        setattr(gpu, name, before)
    assert is_proved_here(artifact)
    rewrite(path, lambda manifest: manifest["build"].update(host="another"))
    assert not is_proved_here(verify_artifact(path))


def test_a_gpu_that_is_gone_has_no_proof(
    gpu: Gpu, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = verify_artifact(copy_of(built, tmp_path, "GPU"))
    record_proof(artifact)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not is_proved_here(artifact)
    with pytest.raises(Unavailable, match="no NVIDIA GPU"):
        record_proof(artifact)
