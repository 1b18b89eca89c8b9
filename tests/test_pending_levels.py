"""CPU code for a level that this machine has not is built, and never run here."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from compile import api, machine
from compile.api import Result, compile_module, load
from compile.backends import inductor
from compile.errors import BadArtifact, CheckFailed, NotBuildable, UsageError
from compile.machine import LEVELS
from compile.proof import constants
from compile.proof.check import check_artifact
from compile.proof.constants import Compared
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_net, small_prepared
from zoo.cli import _run
from zoo.cli.cells import Cell, compile_table

LEVEL = "x86-64-v4"
SPEC = CompileSpec(shape=SHAPE, target=LEVEL)
AVX2_ALONE = frozenset(LEVELS["x86-64-v3"])


def never(*_: object) -> None:
    raise AssertionError("this machine was asked to load code for another one")


@pytest.fixture(scope="module")
def older() -> Iterator[None]:
    """A machine without AVX-512, whatever this one is; nothing may load what it builds."""
    from torch._inductor import cpu_vec_isa

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "cpu_flags", lambda: AVX2_ALONE)
        patch.setattr(inductor, "load", never)
        patch.setattr(cpu_vec_isa, "valid_vec_isa_list", never)
        patch.setattr(cpu_vec_isa.VecISA, "check_build", never)
        yield


@pytest.fixture(scope="module")
def built(older: None, tmp_path_factory: pytest.TempPathFactory) -> Result:
    root = tmp_path_factory.mktemp("built")
    return compile_module(small_prepared(), SPEC, backend="inductor", root=root)


def test_it_is_built_and_not_run(built: Result) -> None:
    manifest = built.manifest
    assert built.built and manifest["status"] == "pending"
    assert manifest["target"]["name"] == LEVEL
    assert manifest["requirements"]["isa"] == sorted(LEVELS[LEVEL])
    assert manifest["parity"]["ran_in"] == [] and manifest["determinism"] is None
    passed = {gate["name"]: gate["passed"] for gate in manifest["parity"]["gates"]}
    assert passed.get("constants") and all(passed.values())
    waiting = {each["name"] for each in manifest["parity"]["skipped_gates"]}
    assert {"batches", "batches refused", "determinism"} <= waiting


def test_it_has_the_vectors_of_its_level(built: Result) -> None:
    with zipfile.ZipFile(built.path / "model.pt2") as package:
        (name,) = (name for name in package.namelist() if name.endswith(".so"))
        library = package.read(name)
    assert b"\x62" in library and library.count(b"\x62\xf1\x7c\x48") > 10  # EVEX: 512 bits


def test_it_is_refused_here(built: Result, older: None) -> None:
    with pytest.raises(BadArtifact, match=f"was built for {LEVEL}; .* on such a CPU"):
        load(built.path)
    with pytest.raises(BadArtifact, match="this CPU lacks avx512bw, avx512cd"):
        check_artifact(built.path, None)


def test_the_same_request_is_not_built_again(built: Result, older: None) -> None:
    root = built.path.parent.parent
    again = compile_module(small_prepared(), SPEC, backend="inductor", root=root)
    assert not again.built and again.manifest == built.manifest


def test_no_gate_that_failed_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with accept_error: no check on its machine could pass."""
    monkeypatch.setattr(api, "runs_here", lambda *_: False)
    failed = {"name": "constants", "value": 2.0, "bound": 1.0, "passed": False}
    compared = Compared(gate=failed, skipped=())
    monkeypatch.setattr(constants, "compare", lambda *_: compared)
    with pytest.raises(CheckFailed, match=r"gate 'constants'.*no check on its machine could pass"):
        compile_module(
            small_net(),
            CompileSpec(shape=SHAPE),
            backend="torchscript",
            root=tmp_path,
            accept_error=True,
        )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_pytorch_cannot_compute_here_has_no_yardstick(older: None) -> None:
    with pytest.raises(NotBuildable, match=f"no bf16 on this CPU.*on a CPU of {LEVEL}"):
        machine.resolve_target(LEVEL, "bf16")
    assert machine.resolve_target("sapphirerapids", "int8") == "sapphirerapids"
    with pytest.raises(UsageError, match="unknown target"):
        machine.resolve_target("x86-64-v5", "fp32")


def test_the_fastest_is_not_looked_for_on_another_machine(
    older: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(["compile", "resnet20", "--backend", "fastest", "--target", LEVEL]) == 2
    assert f"which has no {LEVEL}" in capfd.readouterr().err


def test_the_table_says_what_to_do_next(built: Result) -> None:
    cell = Cell(backend="inductor", precision="fp32", device="cpu")
    cell.note(built.path, built.manifest, built=True, seconds=1.0)
    text = " ".join(str(line) for line in compile_table([cell])[1:])
    assert f"pending until `zoo check {built.path}` on {LEVEL}" in " ".join(text.split())


# On a machine of the level


@pytest.mark.skipif(not machine.has_level(LEVEL), reason=f"this CPU has no {LEVEL}")
def test_its_check_proves_it_on_a_machine_of_its_level(built: Result, tmp_path: Path) -> None:
    place = tmp_path / built.path.parent.name / built.path.name
    shutil.copytree(built.path, place)
    with pytest.MonkeyPatch.context() as there:
        there.setattr(machine, "cpu_flags", lambda: frozenset(LEVELS["sapphirerapids"]))
        there.setattr(inductor, "load", inductor_load)
        with pytest.raises(BadArtifact, match="has not been proved"):
            load(place)
        (row,) = check_artifact(place, None)
        assert (row.status, row.verdict) == ("pending", "PASSED")
        x = torch.randn(1, *SHAPE)
        torch.testing.assert_close(load(place)(x), small_net()(x), rtol=1e-4, atol=1e-5)


inductor_load = inductor.load
