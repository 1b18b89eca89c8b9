"""What both forms of TensorRT share: the batch to tune for, the timing cache, what a file needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compile.api import Model, artifact_folder
from compile.artifact import reading as artifact
from compile.artifact.publishing import find_artifacts
from compile.backends import nvidia
from compile.errors import BadArtifact, Unavailable, UsageError
from compile.runner import library_paths
from compile.spec import CompileSpec


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A GPU by name, and the folder that holds its cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    return tmp_path / "zoo" / "tensorrt"


def spec_of(precision: str = "fp16", portable: bool = False) -> CompileSpec:
    return CompileSpec(shape=(3, 8, 8), batch=(1, 32), precision=precision, portable=portable)


def test_a_range_is_tuned_for_its_largest_batch() -> None:
    shapes = nvidia.shapes(spec_of())
    assert (shapes.smallest[0], shapes.best[0], shapes.largest[0]) == (1, 32, 32)
    assert shapes.best[1:] == (3, 8, 8)


@pytest.mark.parametrize("size", [1, 2, 5, 32])
def test_an_example_of_any_size(size: int) -> None:
    x = nvidia.example(spec_of(), size)
    assert x.shape == (size, 3, 8, 8) and x.dtype == torch.float32
    assert torch.equal(x, nvidia.example(spec_of(), size))


# The timing cache


def test_timings_are_kept_for_this_tensorrt_and_gpu(
    gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nvidia.timing_cache("11.0.0.114") as path:
        assert not path.exists()
        path.write_bytes(b"first")
    kept = gpu / "timing-11.0.0.114-nvidia-h100-80gb-hbm3.bin"
    assert kept.read_bytes() == b"first" and gpu.stat().st_mode & 0o777 == 0o700
    with nvidia.timing_cache("11.0.0.114") as path:
        assert path.read_bytes() == b"first" and path != kept
    with nvidia.timing_cache("10.16.1") as path:
        assert not path.exists()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L4")
    with nvidia.timing_cache("11.0.0.114") as path:
        assert not path.exists()


def test_a_build_that_breaks_keeps_the_old_timings(gpu: Path) -> None:
    with nvidia.timing_cache("11") as path:
        path.write_bytes(b"first")
    with pytest.raises(RuntimeError), nvidia.timing_cache("11") as path:
        path.write_bytes(b"torn")
        raise RuntimeError
    assert [kept.read_bytes() for kept in gpu.iterdir()] == [b"first"]


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_may_write_is_not_used(
    gpu: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    gpu.mkdir(parents=True)
    gpu.chmod(mode)
    (gpu / "timing-11-nvidia-h100-80gb-hbm3.bin").write_bytes(b"planted")
    with nvidia.timing_cache("11") as path:
        assert not path.exists()
        path.write_bytes(b"mine")
    assert [kept.read_bytes() for kept in gpu.iterdir()] == [b"planted"]
    assert "others may write there" in caplog.text


def test_a_folder_that_cannot_be_made_fails_no_build(
    gpu: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.parent.write_text("a file")
    with nvidia.timing_cache("11") as path:
        path.write_bytes(b"mine")
    assert "no timing cache" in caplog.text


def test_a_cache_folder_given_as_a_relative_path_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with nvidia.timing_cache("11") as path:
        path.write_bytes(b"mine")
    assert not (tmp_path / "here").exists()
    assert len(list((tmp_path / "home" / ".cache" / "zoo" / "tensorrt").iterdir())) == 1


# What the GPU can do, and what a file needs


@pytest.mark.parametrize(
    ("precision", "here", "portable", "fits"),
    [
        ("fp16", (7, 5), False, True),
        ("int8", (7, 5), False, True),
        ("bf16", (7, 5), False, False),
        ("tf32", (8, 0), False, True),
        ("fp8", (8, 6), False, False),
        ("fp8", (8, 9), False, True),
        ("fp16", (7, 5), True, False),
        ("fp16", (8, 0), True, True),
    ],
)
def test_what_a_gpu_cannot_do_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    here: tuple[int, int],
    portable: bool,
    fits: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: here)
    spec = spec_of(precision, portable)
    if fits:
        nvidia.check_gpu(spec)
        return
    with pytest.raises(Unavailable, match="or newer, this one is sm_") as error:
        nvidia.check_gpu(spec)
    assert ("portable" if portable else precision) in str(error.value).partition(";")[0]


def test_fp8_does_not_run_from_ampere_on() -> None:
    with pytest.raises(UsageError, match=r"fp8 needs sm_89, a portable engine runs from sm_80 on"):
        nvidia.check_gpu(spec_of("fp8", portable=True))


def test_requirements() -> None:
    found = nvidia.requirements("11.0.0.114", spec_of(), ["libnvinfer.so.11"])
    assert found == {
        "gpu_arch": "sm_90",
        "cuda": "13.2",
        "tensorrt": "11.0.0.114",
        "load_first": ["libnvinfer.so.11"],
    }
    assert nvidia.requirements("11", spec_of(portable=True), [])["gpu_arch"] == "sm_80+"


# Artifacts of engines


@pytest.mark.parametrize(
    ("built_for", "here", "fits"),
    [
        (None, (7, 5), True),
        ("sm_90", (9, 0), True),
        ("sm_90", (8, 9), False),
        ("sm_90", (12, 0), False),
        ("sm_80+", (8, 0), True),
        ("sm_80+", (12, 0), True),
        ("sm_80+", (7, 5), False),
        ("sm_120+", (9, 0), False),
        ("sm_80 +", (9, 0), False),
        ("sm_89,sm_120", (8, 9), True),
        ("sm_89,sm_120", (12, 0), True),
        ("sm_89,sm_120", (9, 0), False),
        ("sm_89,sm_120", (12, 1), False),
    ],
)
def test_which_gpu_an_artifact_accepts(
    monkeypatch: pytest.MonkeyPatch, built_for: str | None, here: tuple[int, int], fits: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: here)
    if fits:
        artifact._check_gpu(built_for, Path("x"))
        return
    with pytest.raises(BadArtifact, match="was built for sm_"):
        artifact._check_gpu(built_for, Path("x"))


def test_folders_of_plans_and_portable_engines_are_found(tmp_path: Path) -> None:
    model = Model(name="resnet18", shape=spec_of().shape)
    folders = [
        artifact_folder(
            tmp_path, model, 64 * "a", "tensorrt-plan", spec_of("int8", portable), "native"
        )
        for portable in (False, True)
    ]
    for folder in folders:
        folder.mkdir(parents=True)
    assert find_artifacts(tmp_path) == folders
    assert folders[1].name == "tensorrt-plan-int8-b1-32-cpu-portable"


def test_zoo_run_is_told_where_pip_put_the_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("tensorrt_libs", "torch_tensorrt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('no GPU')")
    monkeypatch.syspath_prepend(tmp_path)
    options = library_paths()
    assert options[::2] == ["--library-path"] * 2
    assert options[1::2] == [str(tmp_path / "tensorrt_libs"), str(tmp_path / "torch_tensorrt/lib")]
