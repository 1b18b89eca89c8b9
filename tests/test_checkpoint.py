"""Runs on disk: round trips, and everything that must be refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from compile.files import write_atomic
from compile.network.weights import check_finite, weights_sha256
from zoo.errors import BadArtifact, Unavailable, UsageError
from zoo.models import build
from zoo.runs.checkpoint import Run, RunConfig, list_runs, load_run, newest_run
from zoo.runs.draft import begin_run, discard_run, leftovers, publish_run, save_run, stale_drafts

OPTIONS = {"num_classes": 3, "in_channels": 1, "stem": "small"}
CONFIG = RunConfig(model="resnet18", options=OPTIONS, classes=["a", "b", "c"])


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return build("resnet18", seed=0, **OPTIONS).state_dict()


@pytest.fixture
def run(tmp_path: Path, state: dict[str, Tensor]) -> Run:
    return save_run(tmp_path / "runs", state, CONFIG)


def rewrite(run: Run, **changes: Any) -> None:
    """Change fields of config.json; None removes one."""
    path = run.folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "-"}))


def reseal(run: Run, state: dict[str, Tensor]) -> None:
    """Write other weights, with a hash that fits them."""
    (run.folder / "weights.safetensors").write_bytes(safetensors.torch.save(state))
    rewrite(run, weights_sha256=weights_sha256(state))


def test_round_trip(run: Run, state: dict[str, Tensor]) -> None:
    for path in (run.folder, run.folder / "weights.safetensors"):
        loaded = load_run(path)
        assert loaded.config == run.config
        assert loaded.folder == run.folder
        network = loaded.build()
        assert not network.training
        assert weights_sha256(network.state_dict()) == weights_sha256(state)
        assert all(parameter.requires_grad for parameter in network.parameters())
    assert run.config.weights_sha256 == weights_sha256(state)
    assert {"python", "torch", "numpy"} <= set(run.config.versions)
    assert not [path for path in run.folder.rglob("*") if path.name[0] == "."]


def test_networks_of_one_run_do_not_share_weights(run: Run) -> None:
    loaded = load_run(run.folder)
    with torch.no_grad():
        loaded.build().get_parameter("fc.bias").fill_(7.0)
    assert not (loaded.build().get_parameter("fc.bias") == 7.0).any()


def test_a_flipped_byte_is_found(run: Run) -> None:
    path = run.folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadArtifact, match="hash differs"):
        load_run(run.folder)


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 64])
def test_files_that_are_not_what_they_are_called(run: Run, content: bytes) -> None:
    (run.folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(BadArtifact, match=r"weights\.safetensors cannot be read"):
        load_run(run.folder)
    (run.folder / "config.json").write_bytes(content)
    with pytest.raises(BadArtifact, match=r"config\.json is not a run's config"):
        load_run(run.folder)


def test_non_finite_weights_are_refused(run: Run, state: dict[str, Tensor]) -> None:
    broken = {name: tensor.clone() for name, tensor in state.items()}
    broken["fc.bias"][1] = float("nan")
    with pytest.raises(BadArtifact, match=r"'fc\.bias' holds 1 non-finite values of 3"):
        check_finite(broken)
    with pytest.raises(BadArtifact, match="non-finite"):
        save_run(run.folder.parents[1], broken, CONFIG)
    reseal(run, broken)
    with pytest.raises(BadArtifact, match=r"'fc\.bias' holds 1 non-finite"):
        load_run(run.folder)


def test_weights_that_do_not_fit_are_refused(run: Run, state: dict[str, Tensor]) -> None:
    missing = {name: tensor for name, tensor in state.items() if name != "bn1.weight"}
    extra = state | {"zz.weight": torch.zeros(1)}
    shape = state | {"fc.bias": torch.zeros(4)}
    dtype = state | {"fc.bias": torch.zeros(3, dtype=torch.float16)}
    cases = (
        (missing, r"lacks tensor 'bn1\.weight'"),
        (extra, r"unknown tensor 'zz\.weight'"),
        (shape, r"'fc\.bias' is torch\.float32 \[4\]"),
        (dtype, r"'fc\.bias' is torch\.float16"),
    )
    for weights, words in cases:
        reseal(run, weights)
        with pytest.raises(BadArtifact, match=words):
            load_run(run.folder)
        with pytest.raises(BadArtifact, match=words):
            save_run(run.folder.parents[1], weights, CONFIG)
    assert list_runs(run.folder.parents[1]) == [run.folder], "a refused save leaves nothing"


def test_configs_that_cannot_be_are_refused(run: Run) -> None:
    with pytest.raises(BadArtifact, match=r"has schema 2\.0"):
        rewrite(run, schema="2.0")
        load_run(run.folder)
    rewrite(run, schema="1.9", invented="ignored")
    load_run(run.folder)
    for changes in ({"model": "resnet9"}, {"options": {"depth": 4}}, {"options": 5}):
        rewrite(run, **changes)
        with pytest.raises(BadArtifact):
            load_run(run.folder)
        rewrite(run, model="resnet18", options=OPTIONS)
    # A size that no machine has must be refused by arithmetic, not by trying.
    rewrite(run, options=OPTIONS | {"num_classes": 10**12}, classes=None)
    with pytest.raises(BadArtifact, match="fc"):
        load_run(run.folder)
    rewrite(run, model="-")
    with pytest.raises(BadArtifact, match="config"):
        load_run(run.folder)


def test_a_half_written_run_is_no_run(tmp_path: Path, state: dict[str, Tensor]) -> None:
    draft = begin_run(tmp_path, CONFIG)
    draft.write_rows("metrics.csv", [{"epoch": 1, "loss": 2.5}])
    draft.save({"weight": torch.ones(2)}, {"position": 3})
    assert list_runs(tmp_path) == []
    with pytest.raises(UsageError, match="run `zoo train resnet18`"):
        newest_run(tmp_path)
    draft.write_rows("metrics.csv", [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.5}])
    run = publish_run(draft, state, CONFIG)
    assert list_runs(tmp_path) == [run.folder] == [draft.folder]
    assert (run.folder / "metrics.csv").read_text() == "epoch,loss\n1,2.5\n2,1.5\n"
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"config.json", "metrics.csv", "weights.safetensors"}


def test_a_discarded_draft_leaves_nothing(tmp_path: Path) -> None:
    discard_run(begin_run(tmp_path, CONFIG))
    assert list(tmp_path.iterdir()) == []


def test_runs_of_one_second_get_numbers_and_the_newest_is_found(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    folders = [save_run(tmp_path, state, CONFIG).folder for _ in range(2)]
    assert folders[0] != folders[1]
    for name in ("20200101-000000", "20200101-000000-2", "20200101-000000-10"):
        os.rename(save_run(tmp_path / "old", state, CONFIG).folder, tmp_path / "resnet18" / name)
    assert [path.name for path in list_runs(tmp_path, "resnet18")][:3] == [
        "20200101-000000",
        "20200101-000000-2",
        "20200101-000000-10",
    ]
    assert newest_run(tmp_path).folder == list_runs(tmp_path)[-1]
    with pytest.raises(UsageError, match="no run of resnet50"):
        newest_run(tmp_path, "resnet50")
    with pytest.raises(UsageError, match="no run at"):
        load_run(tmp_path / "absent")


def test_the_hash_depends_on_content_alone() -> None:
    tensor = torch.randn(4, 3, 5, 5)
    state = {"b": tensor, "a": torch.tensor(3), "h": torch.randn(3).bfloat16()}
    hashed = weights_sha256(state)
    same = {"h": state["h"], "a": state["a"], "b": tensor.to(memory_format=torch.channels_last)}
    assert weights_sha256(same) == hashed
    assert len(hashed) == 64
    others = (
        state | {"b": tensor + 1e-6},
        state | {"b": tensor.reshape(3, 4, 5, 5)},
        state | {"a": torch.tensor(3, dtype=torch.int32)},
        {"c" if name == "b" else name: value for name, value in state.items()},
    )
    assert len({hashed, *(weights_sha256(other) for other in others)}) == 5


def test_a_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(Unavailable, match="No space left"):
        write_atomic(path, b"newest")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays behind"


def test_a_write_replaces_nothing_but_plain_files(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(UsageError, match="symbolic link"):
        write_atomic(link, b"x")
    assert target.read_text() == "kept"
    assert link.is_symlink()
    with pytest.raises(UsageError, match="not a regular file"):
        write_atomic(tmp_path, b"x")
    with pytest.raises(Unavailable, match="No such file or directory"):
        write_atomic(tmp_path / "absent" / "file", b"x")


def test_a_running_training_is_not_stale(tmp_path: Path, later: Callable[[], None]) -> None:
    draft = begin_run(tmp_path, CONFIG)
    later()
    assert stale_drafts(tmp_path, resumable=True) == []
    draft.release()  # as the end of the process does
    assert stale_drafts(tmp_path, resumable=False) == [draft.folder]


def test_what_can_go_on_is_stale_only_when_asked(tmp_path: Path, later: Callable[[], None]) -> None:
    draft = begin_run(tmp_path, CONFIG)
    draft.save({"weight": torch.ones(2)}, {"position": 3})
    draft.release()
    assert stale_drafts(tmp_path, resumable=True) == [], "a moment later it may be held again"
    later()
    assert stale_drafts(tmp_path, resumable=False) == []
    assert stale_drafts(tmp_path, resumable=True) == [draft.folder]


def test_what_a_kill_left_in_a_finished_run_is_found(
    run: Run, tmp_path: Path, later: Callable[[], None]
) -> None:
    left = run.folder / "state.safetensors"
    left.write_bytes(b"")
    later()
    assert leftovers(tmp_path / "runs") == [left]
    left.unlink()
    (run.folder / "config.json").unlink()
    (run.folder / "training.json").write_text("{}")
    assert leftovers(tmp_path / "runs") == [], "an unfinished run needs them"
