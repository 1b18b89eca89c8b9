"""Runs become files that the other libraries read with their own loaders."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from compile.network.weights import weights_sha256
from tests.support.exchange import SMALL, lifelike, logits, small_state
from zoo.errors import Unavailable, UsageError
from zoo.exchange import export_run, import_weights
from zoo.exchange.exporting import timm_config
from zoo.exchange.formats import check_format
from zoo.models import build, info, names
from zoo.runs.checkpoint import Results, Run, RunConfig
from zoo.runs.draft import save_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """SMALL as if it had been trained here."""
    config = RunConfig(
        model=SMALL,
        options={"num_classes": 1000},
        classes=[f"kind {index}" for index in range(1000)],
        preprocessing={
            "channels": 3,
            "height": 224,
            "width": 224,
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.3, 0.4],
            "resize": 232,
            "interpolation": "bilinear",
        },
        data={"name": "cifar10"},
        recipe={"epochs": 3, "lr": 0.1},
        results=Results(test_accuracy=0.75, test_correct=3, test_total=4, epochs=3, seconds=1.0),
    )
    return save_run(tmp_path_factory.mktemp("runs"), small_state(), config)


def test_torchvision_reads_what_is_exported(tmp_path: Path, libraries: SimpleNamespace) -> None:
    ours = lifelike(build("resnet18", seed=0, num_classes=6))
    config = RunConfig(model="resnet18", options={"num_classes": 6})
    made = export_run(
        save_run(tmp_path / "runs", ours.state_dict(), config), "torchvision", tmp_path
    )
    assert hashlib.sha256(made.path.read_bytes()).hexdigest() == made.sha256
    assert made.path.name == f"resnet18-{made.sha256[:8]}.pth"
    # torch.hub, with torchvision's own call, takes the file from its cache and compares the hash.
    loaded = torch.hub.load_state_dict_from_url(
        made.path.as_uri(), model_dir=str(tmp_path / "hub"), check_hash=True, progress=False
    )
    theirs = libraries.torchvision.resnet18(num_classes=6)
    theirs.load_state_dict(loaded, strict=True)
    assert list(loaded) == list(theirs.state_dict())
    assert torch.equal(logits(theirs), logits(ours.eval()))
    again = import_weights("resnet18", made.path, out=tmp_path / "again").run
    assert again.config.weights_sha256 == weights_sha256(ours.state_dict())


def test_the_folder_says_what_the_weights_are(
    run: Run, tmp_path: Path, libraries: SimpleNamespace
) -> None:
    made = export_run(run, "hf", tmp_path / "out", license_="mit")
    assert sorted(path.name for path in made.path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    config = json.loads((made.path / "config.json").read_text())
    assert config["label_names"] == run.config.classes
    assert (config["num_features"], config["num_classes"]) == (512, 1000)
    loaded = libraries.timm.create_model(f"local-dir:{made.path}", pretrained=True)
    assert torch.equal(logits(loaded), logits(run.build()))
    resolved = libraries.timm.data.resolve_model_data_config(loaded)
    assert resolved["input_size"] == (3, 224, 224) or resolved["input_size"] == [3, 224, 224]
    assert (list(resolved["mean"]), list(resolved["std"])) == ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    transform = libraries.timm.data.create_transform(**resolved, is_training=False)
    assert transform.transforms[0].size == 232
    card = (made.path / "README.md").read_text()
    head = card.split("---\n")[1]
    for line in ("license: mit", "library_name: timm", "datasets: [uoft-cs/cifar10]"):
        assert line in head.splitlines()
    assert "value: 0.750000" in head
    for words in ("75.00 % (3 of 4 images) on CIFAR-10", "| lr | 0.1 |", "resnet10t"):
        assert words in card
    assert str(tmp_path) not in card and str(run.folder) not in card
    back = import_weights(SMALL, made.path / "model.safetensors", out=tmp_path / "runs").run
    assert back.config.classes == run.config.classes
    assert back.config.preprocessing == run.config.preprocessing
    assert back.config.weights_sha256 == run.config.weights_sha256
    card = (export_run(back, "hf", tmp_path / "second").path / "README.md").read_text()
    assert "Not trained here" in card and "model-index" not in card


def test_the_card_is_what_the_hub_reads(run: Run, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    folder = export_run(run, "hf", tmp_path).path
    card = hub.ModelCard.load(folder / "README.md")
    assert card.data.library_name == "timm"
    assert card.data.license == "unknown"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.75)


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    first = export_run(run, "timm", tmp_path)
    assert first.written and not export_run(run, "timm", tmp_path).written
    first.path.write_bytes(b"damaged")
    with pytest.raises(UsageError, match="exists and is damaged"):
        export_run(run, "timm", tmp_path)
    assert first.path.read_bytes() == b"damaged"
    folder = export_run(run, "hf", tmp_path).path
    (folder / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        export_run(run, "hf", tmp_path)
    assert (folder / "README.md").read_text() == "mine"
    folder.rename(tmp_path / "mine")
    folder.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        export_run(run, "hf", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        export_run(run, "hf", tmp_path / "file")
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"


def test_a_failed_write_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        if "config.json" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        export_run(run, "hf", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_export_left_is_removed(
    run: Run, tmp_path: Path, later: Callable[[], None]
) -> None:
    left = tmp_path / ".export-killed"
    left.mkdir()
    export_run(run, "hf", tmp_path)
    assert left.exists(), "it is young, so somebody may be about to lock it"
    later()
    with pytest.raises(UsageError):
        export_run(run, "hf", tmp_path)
    assert not left.exists()


REFUSED = {
    "small stem": ("resnet18", {"stem": "small"}, "no resnet18 with stem=small", "own folder"),
    "shortcut": ("resnet18", {"shortcut": "A"}, "with shortcut=A", "own folder"),
    "cifar": ("resnet20", {}, "no resnet20", "own folder"),
    "plain": ("plain18", {}, "no plain18", "own folder"),
    "small images": ("preact110", {}, "no preact110", "own folder"),
    "timm only": ("resnet18d", {}, "torchvision has no resnet18d", "timm or hf"),
    "grey": ("resnet18", {"in_channels": 1}, "3 channels only", "timm or hf"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_other_library_lacks_is_refused(name: str) -> None:
    model, options, why, instead = REFUSED[name]
    config = RunConfig(model=model, options=options)
    with pytest.raises(UsageError, match=why) as caught:
        check_format(config, "torchvision")
    assert instead in str(caught.value)
    if instead == "own folder":
        for wanted in ("timm", "hf"):
            with pytest.raises(UsageError, match="timm has no"):
                check_format(config, wanted)
    with pytest.raises(UsageError, match="torchvision, timm, hf"):
        check_format(config, "keras")


def test_every_network_that_is_said_to_be_theirs_is(libraries: SimpleNamespace) -> None:
    theirs = {
        "torchvision": set(vars(libraries.torchvision)),
        "timm": set(libraries.timm.list_models()),
    }
    for model in names():
        for wanted, known in theirs.items():
            try:
                check_format(RunConfig(model=model, options={"zero_init_residual": True}), wanted)
                said = True
            except UsageError:
                said = False
            assert said == (model in known), (model, wanted)


def test_grey_networks_travel_too(tmp_path: Path, libraries: SimpleNamespace) -> None:
    ours = build(SMALL, seed=0, in_channels=1, num_classes=3)
    pixels = {"channels": 1, "height": 64, "width": 64, "mean": [0.5], "std": [0.25]}
    config = RunConfig(
        model=SMALL,
        options={"in_channels": 1, "num_classes": 3},
        preprocessing=pixels,  # type: ignore[arg-type]
        data={"name": "folder", "path": "/home/me/secret"},
    )
    run = save_run(tmp_path / "runs", ours.state_dict(), config)
    folder = export_run(run, "hf", tmp_path).path
    loaded = libraries.timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert torch.equal(logits(loaded, 1), logits(ours, 1))
    assert "secret" not in (folder / "README.md").read_text()
    weights = folder / "model.safetensors"
    back = import_weights(SMALL, weights, out=tmp_path / "runs").run
    assert back.config.preprocessing == pixels | {"resize": 64, "interpolation": "bilinear"}
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match="give --set mean"):
        import_weights(SMALL, weights, out=tmp_path / "runs")


def test_config_in_timms_form_without_preprocessing(run: Run) -> None:
    bare = Run(
        folder=run.folder,
        config=RunConfig(model=SMALL, options={}),
        weights=run.weights,
    )
    made = timm_config(bare)
    assert "label_names" not in made and "mean" not in made["pretrained_cfg"]
    assert made["num_classes"] == info(SMALL).num_classes
