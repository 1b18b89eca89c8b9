"""Recipes: every field does what it says, every row can train, what is out of range is named."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from zoo.data import Data, MemorySplit, load
from zoo.errors import CheckFailed, UsageError
from zoo.models import build
from zoo.training.loss import loss_of
from zoo.training.optimizer import Lamb, learning_rate
from zoo.training.recipe import RECIPES, Recipe, amended, find_recipe
from zoo.training.stochastic_depth import stochastic_depth
from zoo.training.train import Work, recipe_of, train
from zoo.training.trainer import Trainer


@pytest.fixture(scope="module")
def data() -> Data:
    """The first 33 digits."""
    digits = load("digits")
    split = digits.train
    assert isinstance(split, MemorySplit)
    few = MemorySplit(split.pixels[:33], split.labels[:33], split.preprocessing, scale=split.scale)
    return dataclasses.replace(digits, train=few, test=few)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains(name: str, data: Data, tmp_path: Path) -> None:
    """A step or two of each: what it asks for exists and fits together."""
    changes = ["epochs=1", "batch=16", *(["size=12"] if RECIPES[name].size else [])]
    recipe = amended(RECIPES[name], changes)
    run = train("resnet20", data, recipe=recipe, out=tmp_path, work=Work(quiet=True))
    assert recipe_of(run.config) == recipe


def test_a_recipe_has_the_form_that_fits_the_network_and_the_images() -> None:
    digits = find_recipe("fast", depth=18, height=8, digits=True)
    assert digits == RECIPES["fast"] == Recipe()
    assert find_recipe("fast", depth=18, height=64, digits=False).shift == 4
    assert find_recipe("paper", depth=56, height=32, digits=False) == RECIPES["paper"]
    assert find_recipe("paper", depth=110, height=32, digits=False).warmup_hold == 0.1
    assert find_recipe("paper", depth=50, height=224, digits=False) == RECIPES["paper-imagenet"]
    assert find_recipe("rsb-a3", depth=50, height=224, digits=False) == RECIPES["rsb-a3"]
    assert find_recipe("rsb-a3", depth=50, height=32, digits=False).size == 23
    drawn = find_recipe("paper", depth=20, height=8, digits=True)
    assert (drawn.shift, drawn.flip) == (1, False), "a mirrored digit is none"
    with pytest.raises(UsageError, match=r"choose one of: fast, .*rsb-a3"):
        find_recipe("papers", depth=18, height=8, digits=True)


def test_settings_amend_a_recipe() -> None:
    settings = ["lr=0.5", "milestones=0.6,0.8", "area=0.5,1", "compile=true", "optimizer=lamb"]
    recipe = amended(Recipe(), settings)
    assert (recipe.lr, recipe.milestones, recipe.area) == (0.5, (0.6, 0.8), (0.5, 1.0))
    assert recipe.compile
    assert recipe.optimizer == "lamb"


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("speed=9", "no such field"),
        ("epochs=many", "not a value for epochs"),
        ("compile=maybe", "not a value for compile"),
        ("optimizer=adam", "use sgd or lamb"),
        ("milestones=0.8,0.6", "must rise"),
        ("milestones=", "not a value for milestones"),
        ("milestones=none", "are not shares"),
        ("lr=nan", "out of range"),
    ],
)
def test_a_setting_that_means_nothing_is_named(setting: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        amended(Recipe(), [setting])


def test_the_step_schedule_divides_by_ten_and_holds_a_warm_up() -> None:
    deep = RECIPES["paper-deep"]
    rates = [learning_rate(deep, step, 1640) for step in range(1640)]
    assert rates[:10] == [pytest.approx(0.01)] * 10
    assert rates[10] == 0.1
    changes = [step for step in range(11, 1640) if rates[step] != rates[step - 1]]
    assert changes == [820, 1230]
    assert rates[-1] == pytest.approx(0.001)


def test_lamb_takes_adams_step_at_the_size_of_the_weights() -> None:
    """By hand: a first step of Adam is a sign; decay is added; the layer's norm scales it."""
    weight = nn.Parameter(torch.tensor([3.0, -4.0]))
    plain = nn.Parameter(torch.tensor([1.0, 1.0]))
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [plain], "weight_decay": 0.0}]
    optimizer = Lamb(groups, lr=0.01)
    weight.grad, plain.grad = torch.tensor([30.0, 40.0]), torch.tensor([0.0, 0.5])
    optimizer.step()
    update = torch.tensor([1.0 + 0.3, 1.0 - 0.4], dtype=torch.float64)
    expected = torch.tensor([3.0, -4.0]).double() - 0.01 * 5.0 / update.norm() * update
    assert torch.allclose(weight.double(), expected, atol=1e-5)
    assert torch.allclose(plain, torch.tensor([1.0, 0.99]), atol=1e-4)


def test_binary_cross_entropy_takes_mixed_targets_as_present() -> None:
    logits = torch.tensor([[20.0, 20.0, -20.0, -20.0]])
    targets = torch.tensor([[0.7, 0.3, 0.0, 0.0]])
    soft = Recipe(loss="bce", label_smoothing=0.0)
    hard = dataclasses.replace(soft, bce_threshold=0.2)
    assert loss_of(logits, targets, hard).item() < 1e-6
    assert loss_of(logits, targets, soft).item() > 1


def test_stochastic_depth_drops_whole_branches_in_training_only() -> None:
    network = build("resnet20", seed=0, in_channels=1)
    images = torch.randn(64, 1, 8, 8)
    whole = network.eval()(images)
    stochastic_depth(network, 0.9)
    assert torch.equal(network.eval()(images), whole)
    found: list[torch.Tensor] = []
    last = network.get_submodule("layer3.2").last_norm
    last.register_forward_hook(lambda _module, _inputs, out: found.append(out))
    network.train()(images)
    dropped = (found[0] == 0).all(dim=3).all(dim=2).all(dim=1)
    assert 0.7 < dropped.float().mean() < 1.0
    for name in ("plain20", "preact110"):
        with pytest.raises(UsageError, match="drop_path=0"):
            stochastic_depth(build(name, seed=0), 0.1)


def flat(data: Data, **fields: object) -> tuple[nn.Linear, Trainer]:
    """A linear network, whose parts do not depend on each other as those of batch norms do."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 10)
    recipe = Recipe(batch=33, average=0.0, shift=0, **fields)  # type: ignore[arg-type]
    return linear, Trainer(nn.Sequential(nn.Flatten(), linear), data, recipe, seed=0)


def test_uneven_parts_add_up_to_the_gradient_of_the_whole_step(data: Data) -> None:
    grads = []
    for accumulate in (1, 4):
        linear, trainer = flat(data, accumulate=accumulate)
        next(trainer.take_steps())
        grads.append(linear.weight.grad)
    assert torch.allclose(grads[0], grads[1], rtol=1e-4, atol=1e-7)


def test_clipping_bounds_the_gradient(data: Data) -> None:
    linear, trainer = flat(data, clip=0.01)
    next(trainer.take_steps())
    norms = [p.grad.norm() for p in linear.parameters() if p.grad is not None]
    assert torch.stack(norms).norm() == pytest.approx(0.01, rel=1e-3)


def test_repeats_show_fewer_images_more_often(data: Data) -> None:
    _, trainer = flat(data, repeats=3)
    (request,) = list(trainer.requests())[:1]
    assert len(request.indices) == 33
    assert len(request.indices.unique()) == 11


def test_a_compiled_step_learns_the_same(data: Data) -> None:
    losses = []
    for compiled in (False, True):
        _, trainer = flat(data, compile=compiled, epochs=3)
        losses.append([row.loss for row, _ in trainer.run()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][2] < losses[0][0]


def test_bf16_computes_in_bf16_and_keeps_the_weights(data: Data) -> None:
    found = []
    linear, trainer = flat(data, precision="bf16")
    linear.register_forward_hook(lambda _module, _inputs, out: found.append(out.dtype))
    next(trainer.take_steps())
    assert found == [torch.bfloat16]
    assert linear.weight.dtype == torch.float32
    assert math.isfinite(trainer.position.loss_sum)


def test_statistics_are_measured_without_dropped_paths(data: Data) -> None:
    """A training that is resumed after its last step measures them again: to the same bits."""
    network = build("resnet20", seed=0, in_channels=1)
    trainer = Trainer(network, data, Recipe(epochs=1, batch=33, drop_path=0.5), seed=0)
    saved: list[tuple[dict[str, torch.Tensor], dict[str, object]]] = []

    def save() -> bool:
        tensors, plain = trainer.state()
        saved.append(({name: value.clone() for name, value in tensors.items()}, plain))
        return False

    list(trainer.run(save))
    again = Trainer(build("resnet20", seed=1, in_channels=1), data, trainer.recipe, seed=0)
    again.restore(*saved[-1])
    list(again.run())
    ours, theirs = network.state_dict(), again.network.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_weights_that_are_not_finite_are_no_state(data: Data) -> None:
    linear, trainer = flat(data)
    next(trainer.take_steps())
    trainer.check_finite()
    with torch.no_grad():
        linear.bias[3] = math.nan
    with pytest.raises(CheckFailed, match=r"1\.bias is not finite after epoch 1, step 1 of 1"):
        trainer.check_finite()
