"""The results file of `just gpu-tests`, on a machine that is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compile import machine
from tests.support import gpu_report
from tests.support.gpu_report import Row

TESTS = """
import pytest
pytestmark = pytest.mark.gpu
def test_fine(): pass
def test_wrong(): assert 1 == 2, "one | two"
def test_left(): pytest.skip("needs a GPU of sm_89")
@pytest.fixture
def broken(): raise RuntimeError("no\\nmemory")
def test_never(broken): pass
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with a GPU, and the folder for its results."""
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setattr(gpu_report, "RESULTS", folder)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(gpu_report, "driver", lambda: "580.1")
    return folder


def run(tmp_path: Path, tests: str = TESTS) -> None:
    """Run a file of tests in this process, with the plugin's own hooks."""
    (tmp_path / "test_made_up.py").write_text(tests)
    arguments = [str(tmp_path / "test_made_up.py"), "-q", "-p", "no:cacheprovider"]
    pytest.main([*arguments, "-W", "ignore", f"--rootdir={tmp_path}"], [gpu_report.Report()])


def test_the_file_says_what_ran_where(gpu: Path, tmp_path: Path) -> None:
    run(tmp_path)
    (path,) = gpu.iterdir()
    assert path.name == f"gpu-nvidia-h100-80gb-hbm3-{machine.now()[:10]}.md"
    text = path.read_text()
    assert "1 passed, 1 skipped, 2 failed" in text
    for part in ("| architecture | sm_90 |", "| driver | 580.1 |", "torch 2.", "| commit |"):
        assert part in text
    rows = [line for line in text.splitlines() if "::test_" in line]
    assert [row.split("::test_")[1].split()[0] for row in rows] == [
        *("never", "wrong", "left", "fine")
    ]
    assert "| failed |" in rows[0] and rows[0].endswith("RuntimeError: no |")
    assert "one \\| two" in rows[1]
    assert "| skipped |" in rows[2] and rows[2].endswith("| needs a GPU of sm_89 |")


def test_no_gpu_is_no_result(
    gpu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run(tmp_path)
    assert "no results file" in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    run(tmp_path, "")
    assert list(gpu.iterdir()) == []


def test_a_machine_without_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpu_report.driver() == "unknown"


def test_the_columns_stay_whole() -> None:
    text = gpu_report.document({"GPU": "x", "date": "2026-01-02T"}, [Row("a|b", "passed", 1, "")])
    assert "| a\\|b | passed | 1.0 |  |" in text
