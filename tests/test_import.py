"""Files of other libraries become runs, with the preprocessing that belongs to them."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from compile.network.weights import weights_sha256
from tests.support.exchange import SMALL, lifelike, logits, publish, small_state
from zoo.errors import BadArtifact, UsageError
from zoo.exchange import export_run, import_weights
from zoo.exchange.files import read_weights
from zoo.exchange.importing import read_classes
from zoo.exchange.preprocessing import TORCHVISION, crop_share, find_preprocessing
from zoo.runs.checkpoint import load_run


@pytest.fixture
def state() -> dict[str, Tensor]:
    return dict(small_state())


def test_a_damaged_record_of_the_source_is_refused(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    made = import_weights(SMALL, publish(tmp_path, SMALL, state), out=tmp_path / "runs").run
    config = made.folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"source": "a file"}))
    with pytest.raises(BadArtifact, match="its source has another form"):
        load_run(made.folder)


@pytest.mark.parametrize("kind", ["plain", "half", "no counters", "own classes", "before 1.6"])
def test_torchvision_files_become_runs(
    kind: str, tmp_path: Path, libraries: SimpleNamespace
) -> None:
    torch.manual_seed(0)
    theirs = lifelike(libraries.torchvision.resnet18(num_classes=7 if kind[0] == "o" else 1000))
    if kind == "half":
        theirs = theirs.half().float()  # what float16 can hold, for the comparison
    content = theirs.state_dict()
    if kind == "half":
        content = {
            name: each.half() if each.is_floating_point() else each
            for name, each in content.items()
        }
    if kind == "no counters":
        content = {n: each for n, each in content.items() if "num_batches" not in n}
    path = publish(tmp_path, "resnet18", content, old=kind == "before 1.6")
    made = import_weights("resnet18", path, out=tmp_path / "runs")
    network = load_run(made.run.folder).build()
    assert torch.equal(logits(network), logits(theirs))
    config, notes = made.run.config, "\n".join(made.notes)
    assert config.source == {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "dtype": "float16" if kind == "half" else "float32",
        "new_head": False,
    }
    assert (config.recipe, config.data, config.results) == (None, None, None)
    assert ("float16 became float32" in notes) == (kind == "half")
    assert ("before 1.6" in notes) == (kind == "before 1.6")
    assert ("set to 0" in notes) == (kind == "no counters")
    count = 7 if kind == "own classes" else 1000
    assert config.classes == [str(index) for index in range(count)]
    assert config.options == {"num_classes": count, "in_channels": 3}
    assert config.preprocessing is not None and config.preprocessing["resize"] == 256


@pytest.mark.parametrize("name", ["resnet10t", "resnetv2_18", "seresnet18"])
def test_timm_files_become_runs_and_go_back(
    name: str, tmp_path: Path, libraries: SimpleNamespace
) -> None:
    torch.manual_seed(0)
    theirs = lifelike(libraries.timm.create_model(name, num_classes=5))
    path = publish(tmp_path, name, theirs.state_dict(), "safetensors")
    made = import_weights(name, path, out=tmp_path / "runs").run
    torch.testing.assert_close(logits(made.build()), logits(theirs), rtol=1e-5, atol=1e-5)
    back = export_run(made, "timm", tmp_path / "out")
    again = libraries.timm.create_model(name, num_classes=5, checkpoint_path=str(back.path))
    assert torch.equal(logits(again), logits(theirs))
    assert back.path.name == f"{name}-{back.sha256[:8]}.safetensors"
    hub = export_run(made, "hf", tmp_path / "out")
    loaded = libraries.timm.create_model(f"local-dir:{hub.path}", pretrained=True)
    assert torch.equal(logits(loaded), logits(theirs))
    own = loaded.pretrained_cfg
    assert loaded.get_classifier() is loaded.get_submodule(own["classifier"])
    default = libraries.timm.create_model(name).pretrained_cfg
    assert {key: own[key] for key in ("first_conv", "classifier")} == {
        key: default[key] for key in ("first_conv", "classifier")
    }


def test_the_hash_of_torchvisions_files_and_their_transforms(libraries: SimpleNamespace) -> None:
    published = {}
    for name, group in vars(libraries.torchvision).items():
        if name.endswith("_Weights"):
            for weights in group:
                model, _, rest = weights.url.rpartition("/")[2].partition("-")
                transforms = weights.transforms()
                published[rest.removesuffix(".pth")] = (model, transforms.resize_size[0])
                assert transforms.crop_size == [224]
                assert transforms.interpolation.value == "bilinear"
                assert (transforms.mean, transforms.std) == (
                    [0.485, 0.456, 0.406],
                    [0.229, 0.224, 0.225],
                )
    assert published == TORCHVISION


def test_preprocessing_by_hash_by_folder_by_default_and_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"

    def find(sha256: str = "0" * 64, model: str = "resnet50", *settings: str) -> Any:
        return find_preprocessing(path, sha256, model, 3, settings)

    assert find("11ad3fa6" + "0" * 56).preprocessing["resize"] == 232
    assert find("0676ba61" + "0" * 56).preprocessing["resize"] == 256
    with pytest.raises(UsageError, match="torchvision's resnet50"):
        find("11ad3fa6" + "0" * 56, "resnetblur50")  # the same tensors, another network
    assert "unknown for this file" in find().origin and find().preprocessing["resize"] == 256
    changed = find("0" * 64, "resnet50", "size=288", "resize=288", "mean=0,0,0", "std=1,1,1")
    assert changed.preprocessing["height"] == changed.preprocessing["resize"] == 288
    assert changed.preprocessing["mean"] == [0.0, 0.0, 0.0]
    for wrong in ("size", "crop=1", "mean=a", "mean=1", "std=0,1,1", "resize=9", "interpolation=x"):
        with pytest.raises(UsageError):
            find("0" * 64, "resnet50", wrong)
    cfg = {"input_size": [3, 160, 160], "crop_pct": 0.95, "interpolation": "bicubic"}
    beside = tmp_path / "config.json"
    beside.write_text(json.dumps({"architecture": "resnet50", "pretrained_cfg": cfg}))
    found = find().preprocessing
    assert (found["height"], found["resize"], found["interpolation"]) == (160, 168, "bicubic")
    assert find("0" * 64, "resnet18").preprocessing["height"] == 224, "another network's"
    for broken in (
        "{",
        '{"architecture": "resnet50", "pretrained_cfg": {"input_size": 5}}',
        '{"architecture": "resnet50", "pretrained_cfg": {"std": [0, 1, 1]}}',
        '{"architecture": "resnet50", "pretrained_cfg": {"crop_mode": "squash"}}',
    ):
        beside.write_text(broken)
        with pytest.raises(BadArtifact, match=r"config\.json"):
            find()


def test_timms_crop_share_gives_the_same_resize() -> None:
    for size in (96, 160, 224, 320):
        for resize in range(size, 2 * size + 1):  # 160 / (160 / 212) is a little less than 212
            pixels: Any = {"height": size, "width": size, "resize": resize}
            assert int(size / crop_share(pixels)) == resize


@pytest.mark.parametrize("count", [4, 1000])
def test_classes_name_or_replace_the_head(
    count: int, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path, words = publish(tmp_path, SMALL, dict(state)), [f"name {i}" for i in range(count)]
    made = import_weights(SMALL, path, classes=words, out=tmp_path / "runs", seed=3)
    again = import_weights(SMALL, path, classes=count, out=tmp_path / "runs", seed=3)
    assert made.run.config.classes == words
    assert weights_sha256(made.run.weights) == weights_sha256(again.run.weights)
    assert made.run.config.source is not None
    assert made.run.config.source["new_head"] == (count == 4)
    assert ("knows nothing yet" in "\n".join(made.notes)) == (count == 4)
    same = {name for name in state if torch.equal(state[name], made.run.weights[name])}
    assert state.keys() - same == ({"fc.weight", "fc.bias"} if count == 4 else set())
    assert made.run.weights["fc.weight"].shape == (count, 512)
    other = import_weights(SMALL, path, classes=4, out=tmp_path / "runs", seed=4).run
    assert not torch.equal(other.weights["fc.weight"][0], made.run.weights["fc.weight"][0])


def test_classes_are_a_number_or_a_file(tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    listed.write_text("cat\n dog \n", encoding="utf-8")
    assert read_classes("12") == 12
    assert read_classes(str(listed)) == ["cat", "dog"]
    for wrong in ("0", "-3", "1000001", str(tmp_path), "missing.txt"):
        with pytest.raises(UsageError):
            read_classes(wrong)
    for content in (b"", b"cat\n\ndog\n", b"\xff\xfe"):
        listed.write_bytes(content)
        with pytest.raises(BadArtifact):
            read_classes(str(listed))


def test_wrappers_of_training_scripts(tmp_path: Path, state: dict[str, Tensor]) -> None:
    plain, wrapped = dict(state), {f"module.{name}": each for name, each in state.items()}
    options = argparse.Namespace(lr=0.1)

    def read(content: object, key: str | None = None) -> Any:
        return read_weights(publish(tmp_path, "x", content), key)

    for content in (
        wrapped,
        {"state_dict": plain, "epoch": 3, "args": options},
        {"model": wrapped, "optimizer": {"state": {}, "param_groups": []}},
        {"model": {f"module._orig_mod.{name}": each for name, each in state.items()}},
    ):
        found = read(content)
        assert weights_sha256(found.tensors) == weights_sha256(state)
        assert found.notes
    both = {"model": plain, "model_ema": wrapped | {"module.fc.bias": torch.ones(1000)}}
    both["model_ema"]["n_averaged"] = torch.tensor(7)
    with pytest.raises(BadArtifact, match=r"under model, model_ema; choose .*--key"):
        read(both)
    assert torch.equal(read(both, "model_ema").tensors["fc.bias"], torch.ones(1000))
    assert torch.equal(read(both, "model").tensors["fc.bias"], state["fc.bias"])
    with pytest.raises(UsageError, match="it has: model, model_ema"):
        read(both, "ema")
    for wrong in ({}, [1], {"epoch": 3}, {"model": {"a": 1}}, {3: torch.zeros(1)}):
        with pytest.raises(BadArtifact):
            read(wrong)
    # A name that only some share is no wrapper's.
    some = wrapped | {"other": torch.zeros(1)}
    assert set(read(some).tensors) == set(some)
