"""Building networks by name, and lifelike batch norms; the families are in test_families.py."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from zoo.errors import UsageError
from zoo.models import ModelInfo, build, info, names
from zoo.models.calibration import calibrate_batch_norms, synthetic_images

SMALL = {"num_classes": 10, "in_channels": 1, "stem": "small"}


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "resnetv2_18d", "resnetblur18", "resnetaa34d"]
)
@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_forward_and_backward(name: str, stem: str) -> None:
    network = build(name, seed=0, num_classes=7, in_channels=1, stem=stem)
    side = 15 if stem == "small" else 33  # odd: sizes are halved rounding up
    logits = network(torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    without = [key for key, value in network.named_parameters() if value.grad is None]
    assert not without


def test_every_relu_is_a_module_of_its_own() -> None:
    network = build("resnet50", **SMALL)
    calls: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, _inputs, _output: calls.append(module))
    network(torch.randn(2, 1, 8, 8))
    assert len(calls) == 1 + 16 * 3
    assert len(set(calls)) == len(calls)


def test_stride_of_a_bottleneck_is_on_its_3x3() -> None:
    block = build("resnet50").get_submodule("layer2.0")
    assert block.conv1.stride == (1, 1)
    assert block.conv2.stride == (2, 2)


def test_small_stem_sees_the_whole_image() -> None:
    network = build("resnet18", **SMALL)
    assert isinstance(network.maxpool, nn.Identity)
    shapes = {}
    for name in ("layer1", "layer2", "layer3", "layer4"):
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.update({name: output.shape[1:]})
        )
    network(torch.randn(2, 1, 8, 8))
    assert list(shapes.values()) == [(64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)]


def test_zero_init_makes_every_unit_its_shortcut() -> None:
    network = build("resnet18", seed=0, zero_init_residual=True, **SMALL).eval()
    images = torch.randn(2, 64, 8, 8).relu()
    torch.testing.assert_close(network.get_submodule("layer1")(images), images)


def test_a_seed_gives_the_same_weights_and_leaves_the_global_state() -> None:
    before = torch.random.get_rng_state()
    first, second = (build("resnet18", seed=3, **SMALL).state_dict() for _ in range(2))
    other = build("resnet18", seed=4, **SMALL).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnt50", {}, "did you mean resnet50 or .*[?] Run `zoo list`"),
        ("vgg16", {}, "unknown model 'vgg16'. Run `zoo list`"),
        ("resnet18", {"stem": "big"}, "imagenet, small"),
        ("resnet18", {"stem": ["small"]}, "imagenet, small"),
        ("resnet20", {"shortcut": "D"}, "A, B, C"),
        ("resnet18", {"num_classes": 0}, "at least 1"),
        ("resnet18", {"num_classes": "ten"}, "at least 1"),
        ("resnet18", {"in_channels": True}, "at least 1"),
        ("resnet18", {"zero_init_residual": 1}, "True or False"),
        ("resnet20", {"stem": "small"}, "no option 'stem'; it takes: num_classes, in_channels"),
        ("plain20", {"zero_init_residual": True}, "no option"),
    ],
)
def test_unknown_names_are_answered(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build(name, **options)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 200


def test_info_says_what_build_makes() -> None:
    assert info("resnet110") == ModelInfo(
        name="resnet110",
        family="cifar",
        depth=110,
        parameters=1_727_962,
        macs=252_887_680,
        source="ResNet, arXiv:1512.03385",
        shape=(3, 32, 32),
        num_classes=10,
        options=("num_classes", "in_channels", "shortcut", "zero_init_residual"),
    )
    with pytest.raises(UsageError, match="did you mean resnet110"):
        info("resnet111")


@pytest.mark.parametrize("name", names())
def test_every_network_accepts_what_it_says(name: str) -> None:
    values = {"stem": "small", "shortcut": "C", "zero_init_residual": False}
    values |= {"num_classes": 7, "in_channels": 1}
    with torch.device("meta"):
        network = build(name, **{option: values[option] for option in info(name).options})
    weights = list(network.parameters())
    assert 7 in weights[-1].shape and weights[0].shape[1] == 1
    assert re.fullmatch(r"[-\w ]+, arXiv:\d{4}\.\d{5}", info(name).source)


def test_names_are_unique() -> None:
    assert len(names()) == len(set(names())) > 100


def test_calibrated_batch_norms_are_not_trivial() -> None:
    network = build("resnet18", seed=0, **SMALL)
    calibrate_batch_norms(network, (1, 8, 8), seed=0)
    assert network.training
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.std() > 0.2 * module.weight.mean() > 0
            assert module.bias.std() > 0.1 * module.weight.mean()
            assert module.running_mean is not None and module.running_mean.abs().max() > 0.01
            assert module.running_var is not None and (module.running_var - 1).abs().max() > 0.01
            assert module.momentum == 0.1
    images = synthetic_images(16, (1, 8, 8), torch.Generator().manual_seed(9))
    with torch.inference_mode():
        logits = network.eval()(images)
    assert torch.isfinite(logits).all()
    assert logits.std(0).min() > 0.05, "logits must differ between inputs"
    assert len(logits.argmax(1).unique()) > 1


def test_calibration_keeps_the_deepest_network_finite_in_half_precision() -> None:
    network = build("resnet152", seed=0, **SMALL).eval()
    calibrate_batch_norms(network, (1, 16, 16), seed=0)
    largest = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _m, _i, output: largest.append(output.max().item()))
    with torch.inference_mode():
        network(torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1)))
    assert max(largest) < 1000  # float16 ends at 65,504
    assert min(largest) > 0.1
