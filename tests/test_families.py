"""The families: sizes against published figures, depths, twins, shortcuts, stems, units."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.models import ModelInfo, build, info, names
from zoo.models.counting import macs, parameters
from zoo.models.families import FAMILIES
from zoo.models.plain import VARIANTS as TWINS
from zoo.models.unit import ResidualUnit

# Published or measured elsewhere: parameters; GMACs at 224x224 or, for CIFAR's, at 32x32.
REFERENCE = {
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "resnext50_32x4d": (25_028_904, 4.230),
    "resnext101_32x8d": (88_791_336, 16.414),
    "resnext101_64x4d": (83_455_272, 15.460),
    "wide_resnet50_2": (68_883_240, 11.398),
    "wide_resnet101_2": (126_886_696, 22.753),
    "resnet20": (269_722, 0.04055),
    "resnet32": (464_154, 0.06886),
    "resnet44": (658_586, 0.09717),
    "resnet56": (853_018, 0.12549),
    "resnet110": (1_727_962, 0.25289),
    "resnet1202": (19_421_274, 2.8292),
    "preact164": (1_703_258, None),
    "preact1001": (10_327_706, None),
    "senet154": (115_088_984, None),
    "resnetrs420": (191_891_656, None),
    "ecaresnet26t": (16_011_916, None),
    "resnet50_gn": (25_557_032, None),
}
PROJECTED = {"resnet20": 272_474, "resnet56": 855_770, "resnet1202": 19_424_026}
"""Parameters of CIFAR's with shortcuts of option B."""

OTHERWISE = {"senet154": 152, "resnetrs270": 272, "resnetrs420": 419}
"""Layers where a paper counts the stem's three, or rounds."""


@pytest.fixture(scope="module", params=names())
def named(request: pytest.FixtureRequest) -> tuple[ModelInfo, nn.Module]:
    """Each network in turn, without memory: all tests of one run before the next is built."""
    return info(request.param), meta(request.param)


def meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(name, **options)


def units(network: nn.Module) -> list[ResidualUnit]:
    return [module for module in network.modules() if isinstance(module, ResidualUnit)]


def test_the_size_on_record_is_the_size(named: tuple[ModelInfo, nn.Module]) -> None:
    model, network = named
    counted = (parameters(network), macs(network, model.shape))
    assert (model.parameters, model.macs) == counted, (
        f'write in catalogue.py: "{model.name}": ({model.depth}, {counted[0]:_}, {counted[1]:_}),'
    )
    assert network.get_parameter([name for name, _ in network.named_parameters()][-1]).shape == (
        model.num_classes,
    )


def test_the_catalogue_names_the_networks() -> None:
    assert names() == [name for family in FAMILIES for name in family.VARIANTS]


@pytest.mark.parametrize("name", REFERENCE)
def test_the_size_is_the_published_one(name: str) -> None:
    count, gmacs = REFERENCE[name]
    assert info(name).parameters == count
    if gmacs is not None:
        assert info(name).macs / 1e9 == pytest.approx(gmacs, rel=1e-3)


@pytest.mark.parametrize(
    "name", ["resnext50_32x4d", "preact110", "ecaresnet26t", "senet154", "resnetrs50", "plain20"]
)
def test_multiply_adds_are_what_torch_counts(name: str) -> None:
    network = meta(name).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, *info(name).shape, device="meta"))
    assert macs(network, info(name).shape) * 2 == counter.get_total_flops()


def test_counting_leaves_the_network_as_it_was() -> None:
    network = build("preact110", seed=0)
    before = [dict(vars(module)) for module in network.modules()]
    macs(network, (3, 32, 32))
    assert [dict(vars(module)) for module in network.modules()] == before
    with pytest.raises(ValueError, match="4 channels"):
        macs(network, (4, 32, 32))
    assert [dict(vars(module)) for module in network.modules()] == before


def test_the_depth_is_the_number_in_the_name(named: tuple[ModelInfo, nn.Module]) -> None:
    model, network = named
    number = re.search(r"\d{2,}", model.name.replace("resnetv2", "").replace("light", "50"))
    assert number and model.depth == int(number[0])
    branches = [name for unit in units(network) for name, _ in unit.named_children()]
    layers = sum(name.startswith("conv") for name in branches) + 2
    assert layers == OTHERWISE.get(model.name, model.depth)


def test_units_are_found_and_know_their_last_norm(named: tuple[ModelInfo, nn.Module]) -> None:
    model, network = named
    for unit in units(network):
        assert unit.has_shortcut == (model.family != "plain")
        names = [name for name, _ in unit.named_children()]
        last = [name for name in names if name.startswith(("conv", "bn", "norm"))][-1]
        assert last.startswith("conv") == (model.family == "preact")
        expected = None if last.startswith("conv") else unit.get_submodule(last)
        assert unit.last_norm is expected


def test_every_layer_is_used_once(named: tuple[ModelInfo, nn.Module]) -> None:
    """Tools that observe or fuse modules need one of its own at each place."""
    model, network = named
    leaves = [module for module in network.modules() if not list(module.children())]
    calls: list[nn.Module] = []
    handles = [
        leaf.register_forward_hook(lambda module, _inputs, _output: calls.append(module))
        for leaf in leaves
    ]
    macs(network, model.shape)
    for handle in handles:
        handle.remove()
    assert len(calls) == len(leaves) and set(calls) == set(leaves)


@pytest.mark.parametrize("name", TWINS)
def test_a_plain_network_is_its_twin_without_the_shortcut(name: str) -> None:
    options = {"num_classes": 7, "in_channels": 1}
    plain, twin = build(name, seed=0, **options), build(TWINS[name], shortcut="A", **options)
    shapes = [{key: value.shape for key, value in n.state_dict().items()} for n in (plain, twin)]
    assert shapes[0] == shapes[1]
    twin.load_state_dict(plain.state_dict())
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        alone, whole = plain.eval()(images), twin.eval()(images)
        assert not torch.allclose(alone, whole)
        for unit in units(twin):
            unit.downsample = nothing(unit.get_submodule("conv1").stride[0])
        torch.testing.assert_close(twin(images), alone, rtol=0, atol=0)


def nothing(stride: int) -> nn.Module:
    """A shortcut that adds zero: one zero channel, which spreads over all."""

    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x[:, :1, ::stride, ::stride])

    return Nothing()


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "resnet20", "resnet110"])
def test_options_of_the_shortcut(name: str) -> None:
    """A has no parameters, B projects where the shape changes, C in every unit (table 3)."""
    found = {}
    for option in "ABC":
        keys = list(meta(name, shortcut=option).state_dict())
        found[option] = len({key.split(".downsample")[0] for key in keys if "downsample" in key})
    total = len(units(meta(name)))
    changes = {"resnet34": 3, "resnet50": 4}.get(name, 2)
    assert found == {"A": 0, "B": changes, "C": total}
    default = "B" if info(name).num_classes == 1000 else "A"
    assert parameters(meta(name)) == parameters(meta(name, shortcut=default))


@pytest.mark.parametrize("name", PROJECTED)
def test_sizes_of_projected_shortcuts(name: str) -> None:
    assert parameters(meta(name, shortcut="B")) == PROJECTED[name]


def test_shortcut_a_keeps_pixels_and_pads_channels() -> None:
    images = torch.randn(2, 16, 5, 5)
    shortcut = build("resnet20").get_submodule("layer2.0.downsample")
    out = shortcut(images)
    torch.testing.assert_close(out[:, :16], images[:, :, ::2, ::2])
    assert out.shape == (2, 32, 3, 3) and not out[:, 16:].any()


@pytest.mark.parametrize(
    "name",
    ["resnet34", "resnet20", "preact164", "resnetv2_50d", "resnet26t", "seresnet18", "resnetaa50"],
)
def test_zero_init_leaves_every_unit_its_shortcut(name: str) -> None:
    network = build(name, seed=0, num_classes=2, zero_init_residual=True).eval()
    unit = units(network)[1]
    channels = unit.get_submodule("conv1").get_parameter("weight").shape[1]
    images = torch.randn(1, channels, 4, 4).relu()
    with torch.inference_mode():
        torch.testing.assert_close(unit(images), images, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    ["resnet50", "plain18", "resnetv2_18", "resnetv2_50t", "resnet50s", "resnetblur50", "senet154"],
)
def test_the_small_stem_keeps_the_size(name: str) -> None:
    network, original = meta(name, stem="small"), meta(name).state_dict()
    sizes: list[torch.Size] = []
    units(network)[0].register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    macs(network, (3, 16, 16))
    assert [tuple(size[2:]) for size in sizes] == [(16, 16)]
    for key, value in network.state_dict().items():
        if not key.startswith(("conv1", "stem")):
            assert value.shape == original[key].shape
