"""The networks: their exact sizes, torchvision's names and numbers, and lifelike batch norms."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import pytest
import torch
from torch import nn

from zoo.errors import UsageError
from zoo.models import build, calibrate_batch_norms, macs, names, parameters
from zoo.models.calibration import synthetic_images

# (parameters, multiply-accumulates at 224x224) with 1000 classes.
SIZES = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
}
SMALL = {"num_classes": 10, "in_channels": 1, "stem": "small"}


@pytest.fixture(scope="module")
def torchvision_resnet() -> ModuleType:
    """torchvision's resnet file; its wheel does not import beside a CPU torch without help."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchvision.models import resnet
    except (ImportError, RuntimeError, AttributeError) as error:
        sys.modules.pop("torchvision", None)
        pytest.skip(f"torchvision does not import here: {error}")
    module: ModuleType = resnet
    return module


def test_every_name_has_a_known_size() -> None:
    assert set(SIZES) <= set(names())


@pytest.mark.parametrize("name", SIZES)
def test_size_is_exact(name: str) -> None:
    with torch.device("meta"):
        network = build(name)
    assert parameters(network) == SIZES[name][0]
    network.to_empty(device="cpu")
    assert macs(network, (3, 32, 32)) < SIZES[name][1]
    assert network.training, "counting must leave the mode as it was"


def test_macs_of_resnet18_at_full_size() -> None:
    assert macs(build("resnet18"), (3, 224, 224)) == SIZES["resnet18"][1]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_forward_and_backward(name: str, stem: str) -> None:
    network = build(name, seed=0, num_classes=7, in_channels=1, stem=stem)
    side = 8 if stem == "small" else 33  # odd: sizes are halved rounding up
    logits = network(torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    without = [key for key, value in network.named_parameters() if value.grad is None]
    assert not without


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_same_names_and_logits_as_torchvision(name: str, torchvision_resnet: ModuleType) -> None:
    ours = build(name, seed=0).eval()
    calibrate_batch_norms(ours, (3, 64, 64), seed=1)
    theirs = getattr(torchvision_resnet, name)().eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet34", "resnet101", "resnet152"])
def test_same_state_as_torchvision(name: str, torchvision_resnet: ModuleType) -> None:
    with torch.device("meta"):
        ours, theirs = build(name), getattr(torchvision_resnet, name)()
    shapes = [{key: value.shape for key, value in n.state_dict().items()} for n in (ours, theirs)]
    assert shapes[0] == shapes[1]


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
        ("resnt50", {}, "did you mean resnet50"),
        ("vgg16", {}, "resnet18, resnet34"),
        ("resnet18", {"stem": "big"}, "imagenet, small"),
        ("resnet18", {"num_classes": 0}, "at least 1"),
    ],
)
def test_unknown_names_are_answered(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build(name, **options)


def test_calibrated_batch_norms_are_not_trivial() -> None:
    network = build("resnet18", seed=0, **SMALL)
    calibrate_batch_norms(network, (1, 8, 8), seed=0)
    assert network.training
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.std() > 0.1
            assert module.bias.std() > 0.1
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
