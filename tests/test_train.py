"""Training: it learns, it repeats bit for bit, it stops when it must, it leaves no half run."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from zoo.data import Data, MemorySplit, Preprocessing, Split, load_digits_split
from zoo.errors import BadArtifact, UsageError
from zoo.models import build
from zoo.runs.checkpoint import Run, list_runs, load_run
from zoo.training.evaluate import evaluate, predict
from zoo.training.optimizer import learning_rate, make_optimizer
from zoo.training.parallel import Group
from zoo.training.position import Epoch
from zoo.training.recipe import Recipe
from zoo.training.train import Work, find_same, recipe_of, run_config, train
from zoo.training.trainer import Trainer

QUICK = Recipe(epochs=4, batch=16, lr=0.02, zero_init_residual=False)
QUIET = Work(quiet=True)


@pytest.fixture(scope="module")
def data() -> Data:
    """The first 64 images of each half of the digits."""
    digits = load_digits_split()
    return dataclasses.replace(digits, train=few(digits.train, 64), test=few(digits.test, 64))


def few(split: Split, count: int) -> MemorySplit:
    """The first images of a split in memory."""
    assert isinstance(split, MemorySplit)
    return MemorySplit(
        split.pixels[:count], split.labels[:count], split.preprocessing, scale=split.scale
    )


@pytest.fixture(scope="module")
def run(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("resnet18", data, recipe=QUICK, out=tmp_path_factory.mktemp("runs"), work=QUIET)


def rows(run: Run) -> list[dict[str, str]]:
    with open(run.folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_loss_falls(data: Data, tmp_path: Path) -> None:
    """A small network and 48 steps, so that the loss falls on any CPU and from any seed."""
    recipe = dataclasses.replace(QUICK, epochs=12)
    losses = [
        float(row["loss"])
        for row in rows(train("resnet20", data, recipe=recipe, out=tmp_path, work=QUIET))
    ]
    assert losses[-1] < losses[0] - 1


def test_metrics_never_show_the_test_half(run: Run) -> None:
    assert len(rows(run)) == QUICK.epochs
    assert list(rows(run)[0]) == [field.name for field in dataclasses.fields(Epoch)]
    assert not [name for name in rows(run)[0] if "test" in name]


def test_the_run_holds_what_was_evaluated(run: Run, data: Data) -> None:
    loaded = load_run(run.folder)
    result = evaluate(loaded.build(), data.test)
    saved = loaded.config.results
    assert saved is not None
    assert (
        (saved.test_correct, saved.test_total)
        == (result.correct, result.total)
        == (
            result.correct,
            64,
        )
    )
    assert saved.test_accuracy == result.accuracy
    assert recipe_of(loaded.config) == QUICK
    assert loaded.config.data == {"name": "digits", "train": 64, "test": 64}


def test_the_same_seed_gives_the_same_bits(run: Run, data: Data, tmp_path: Path) -> None:
    torch.manual_seed(1234)  # the global random state must not matter
    again = train("resnet18", data, recipe=QUICK, out=tmp_path, work=QUIET)
    assert again.config.weights_sha256 == run.config.weights_sha256


def test_another_seed_gives_other_weights(run: Run, data: Data, tmp_path: Path) -> None:
    short = dataclasses.replace(QUICK, epochs=1)
    runs = [train("resnet18", data, recipe=short, seed=s, out=tmp_path, work=QUIET) for s in (0, 1)]
    assert runs[0].config.weights_sha256 != runs[1].config.weights_sha256
    assert len(list_runs(tmp_path, "resnet18")) == 2


def test_progress_goes_to_stderr_unless_quiet(
    data: Data, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = dataclasses.replace(data, train=few(data.train, 32))
    recipe = Recipe(epochs=2, batch=32)
    train("resnet18", small, recipe=recipe, out=tmp_path, work=QUIET)
    assert capfd.readouterr() == ("", "")
    train("resnet18", small, recipe=recipe, out=tmp_path)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split("  ")[0] for line in err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert max(map(len, err.splitlines())) <= 80


def test_steps_are_equal_so_that_no_batch_norm_sees_two_images(data: Data) -> None:
    sizes: list[int] = []
    network = build("resnet18", num_classes=10, in_channels=1, stem="small")
    network.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    small = dataclasses.replace(data, train=few(data.train, 33))
    list(Trainer(network, small, Recipe(epochs=1, batch=16, average=0.0), seed=0).run())
    assert sizes == [17, 16]


def test_weight_decay_spares_batch_norms_and_biases() -> None:
    network = build("resnet18", num_classes=10, in_channels=1, stem="small")
    decayed, others = make_optimizer(network, Recipe()).param_groups
    assert others["weight_decay"] == 0 < decayed["weight_decay"]
    names = {id(value): name for name, value in network.named_parameters()}
    kept = [names[id(value)] for value in others["params"]]
    assert all(
        ".bn" in n or n.startswith("bn") or "downsample.1" in n or n == "fc.bias" for n in kept
    )
    assert len(decayed["params"]) + len(kept) == len(names)


def test_the_learning_rate_climbs_and_falls() -> None:
    recipe = Recipe(lr=0.5, warmup=0.2)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert max(rates) == rates[19] == 0.5
    assert [rates[9], rates[14]] == pytest.approx([0.25, 0.375]), "linear"
    assert rates[:20] == sorted(rates[:20])
    assert rates[19:] == sorted(rates[19:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert 0 < rates[0] <= 0.5 / 20


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("batch", 1), ("lr", math.nan), ("lr", -1.0), ("shift", 0.5), ("warmup", 1.0)],
)
def test_a_recipe_names_what_is_out_of_range(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"{field} .*use "):
        Recipe(**{field: value})


def test_evaluation_counts_and_keeps_the_mode() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False), nn.Dropout(0.9))
    nn.init.eye_(network[1].weight)
    plain = Preprocessing(channels=1, height=2, width=2, mean=[0.0], std=[1.0])
    pixels = torch.eye(4, dtype=torch.uint8).view(4, 1, 2, 2)
    split = MemorySplit(pixels, torch.tensor([0, 1, 2, 0]), plain, scale=1)
    for batch in (1, 3, 4):
        result = evaluate(network, split, batch=batch)
        assert (result.correct, result.total, result.accuracy) == (3, 4, 0.75)
        assert result.loss == pytest.approx(math.log(math.e + 3) - 0.75, rel=1e-5)
    assert network.training


def test_prediction_agrees_with_the_test_half(run: Run, data: Data, tmp_path: Path) -> None:
    zero = torch.tensor(data.preprocessing["mean"]), torch.tensor(data.preprocessing["std"])
    pixels = (data.test.tensors()[0][0, 0] * zero[1] + zero[0]).clamp(0, 1) * 255
    Image.fromarray(pixels.round().byte().numpy()).save(tmp_path / "digit.png")
    found = predict(run, tmp_path / "digit.png")
    with torch.inference_mode():
        expected = run.build()(data.test.tensors()[0][:1])[0].softmax(0)
    assert len(found) == 5
    assert found[0][0] == data.classes[int(expected.argmax())]
    assert found[0][1] == pytest.approx(expected.max().item(), abs=0.05)
    assert found == sorted(found, key=lambda pair: -pair[1])
    assert sum(p for _, p in predict(run, tmp_path / "digit.png", top=99)) == pytest.approx(1)
    with pytest.raises(BadArtifact, match=r"absent\.png"):
        predict(run, tmp_path / "absent.png")


def test_the_same_run_is_found_again(run: Run, data: Data) -> None:
    root = run.folder.parent.parent
    assert find_same(root, run_config("resnet18", data, QUICK)) is not None
    assert find_same(root, run_config("resnet18", data, QUICK, seed=1)) is None
    assert find_same(root, run_config("resnet18", data, Recipe())) is None
    assert "stem" in run_config("resnet18", data, QUICK).options
    assert "stem" not in run_config("resnet20", data, QUICK).options


@pytest.mark.gpu
def test_training_on_a_gpu_in_bf16(data: Data, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    work = Work(group=Group(device=torch.device("cuda")), quiet=True)
    recipe = dataclasses.replace(QUICK, precision="bf16", channels_last=True)
    run = train("resnet18", data, recipe=recipe, out=tmp_path, work=work)
    losses = [float(row["loss"]) for row in rows(run)]
    assert losses[-1] < losses[0] - 0.3
    assert run.config.device == "cuda"
    saved = run.config.results
    assert saved is not None
    on_cpu = evaluate(load_run(run.folder).build(), data.test)
    assert abs(on_cpu.correct - saved.test_correct) <= 1, "one image may be decided by rounding"
