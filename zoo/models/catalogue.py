"""Every network by name, and what is known of it without building it.

A row says how many layers a network has, counted as its paper does, how many parameters, and how
many multiply-accumulates one sample takes: of the network as it is published, with its own class
count and image size and no options. `tests/test_families.py` builds each of them, counts again and
prints the row that belongs here for a new one.

Nothing here needs torch, so names and sizes are there at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a network without building it."""

    name: str
    family: str
    depth: int
    """Weighted layers from the input to the logits, as its paper counts: projections left out."""
    parameters: int
    """Trainable parameters."""
    macs: int
    """Multiply-accumulates for one sample of `shape`."""
    source: str
    """Short title and arXiv id of the paper."""
    shape: tuple[int, int, int]
    """Channels, height and width of the images that it was published for."""
    num_classes: int
    """Of the data set that it was published for: ImageNet's 1000 or CIFAR's 10."""
    options: tuple[str, ...]
    """Names of the options that `build` accepts for it."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Networks that differ in nothing but their size."""

    family: str
    source: str
    shape: tuple[int, int, int]
    options: tuple[str, ...]
    rows: dict[str, tuple[int, int, int]]
    """Name -> layers, parameters, multiply-accumulates."""


IMAGENET = (3, 224, 224)
CIFAR = (3, 32, 32)
NUM_CLASSES = {IMAGENET: 1000, CIFAR: 10}

_SIZES = ("num_classes", "in_channels")
_ZERO = "zero_init_residual"

_GROUPS: tuple[_Group, ...] = (
    _Group(
        family="resnet",
        source="ResNet, arXiv:1512.03385",
        shape=IMAGENET,
        options=(*_SIZES, "stem", "shortcut", _ZERO),
        rows={
            "resnet18": (18, 11_689_512, 1_814_073_344),
            "resnet34": (34, 21_797_672, 3_663_761_408),
            "resnet50": (50, 25_557_032, 4_089_184_256),
            "resnet101": (101, 44_549_160, 7_801_405_440),
            "resnet152": (152, 60_192_808, 11_513_626_624),
            "resnet26": (26, 15_995_176, 2_342_256_640),
            "resnet200": (200, 64_673_832, 15_007_481_856),
        },
    ),
    _Group(
        family="wide",
        source="Wide ResNet, arXiv:1605.07146",
        shape=IMAGENET,
        options=(*_SIZES, "stem", "shortcut", _ZERO),
        rows={
            "wide_resnet50_2": (50, 68_883_240, 11_398_021_120),
            "wide_resnet101_2": (101, 126_886_696, 22_753_050_624),
        },
    ),
    _Group(
        family="resnext",
        source="ResNeXt, arXiv:1611.05431",
        shape=IMAGENET,
        options=(*_SIZES, "stem", "shortcut", _ZERO),
        rows={
            "resnext50_32x4d": (50, 25_028_904, 4_230_479_872),
            "resnext101_32x4d": (101, 44_177_704, 7_969_996_800),
            "resnext101_32x8d": (101, 88_791_336, 16_414_015_488),
            "resnext101_32x16d": (101, 194_026_792, 36_163_289_088),
            "resnext101_32x32d": (101, 468_530_472, 87_106_781_184),
            "resnext101_64x4d": (101, 83_455_272, 15_460_270_080),
        },
    ),
    _Group(
        family="cifar",
        source="ResNet, arXiv:1512.03385",
        shape=CIFAR,
        options=(*_SIZES, "shortcut", _ZERO),
        rows={
            "resnet20": (20, 269_722, 40_551_040),
            "resnet32": (32, 464_154, 68_862_592),
            "resnet44": (44, 658_586, 97_174_144),
            "resnet56": (56, 853_018, 125_485_696),
            "resnet110": (110, 1_727_962, 252_887_680),
            "resnet1202": (1202, 19_421_274, 2_829_238_912),
        },
    ),
    _Group(
        family="plain",
        source="ResNet, arXiv:1512.03385",
        shape=IMAGENET,
        options=(*_SIZES, "stem"),
        rows={
            "plain18": (18, 11_515_688, 1_794_805_760),
            "plain34": (34, 21_623_848, 3_644_493_824),
        },
    ),
    _Group(
        family="plain",
        source="ResNet, arXiv:1512.03385",
        shape=CIFAR,
        options=_SIZES,
        rows={
            "plain20": (20, 269_722, 40_551_040),
            "plain32": (32, 464_154, 68_862_592),
            "plain44": (44, 658_586, 97_174_144),
            "plain56": (56, 853_018, 125_485_696),
            "plain110": (110, 1_727_962, 252_887_680),
        },
    ),
    _Group(
        family="preact",
        source="ResNet v2, arXiv:1603.05027",
        shape=CIFAR,
        options=(*_SIZES, _ZERO),
        rows={
            "preact110": (110, 1_727_962, 252_887_680),
            "preact164": (164, 1_703_258, 247_646_720),
            "preact1001": (1001, 10_327_706, 1_490_995_712),
        },
    ),
    _Group(
        family="preact",
        source="ResNet v2, arXiv:1603.05027",
        shape=IMAGENET,
        options=(*_SIZES, "stem", _ZERO),
        rows={
            "resnetv2_18": (18, 11_687_720, 1_814_073_344),
            "resnetv2_34": (34, 21_795_880, 3_663_761_408),
            "resnetv2_50": (50, 25_549_352, 4_089_184_256),
            "resnetv2_101": (101, 44_541_480, 7_801_405_440),
            "resnetv2_152": (152, 60_185_128, 11_513_626_624),
            "resnetv2_18d": (18, 11_706_952, 2_053_713_920),
            "resnetv2_34d": (34, 21_815_112, 3_903_401_984),
            "resnetv2_50d": (50, 25_568_584, 4_328_824_832),
            "resnetv2_50t": (50, 25_566_048, 4_297_213_952),
            "resnetv2_101d": (101, 44_560_712, 8_041_046_016),
            "resnetv2_152d": (152, 60_204_360, 11_753_267_200),
        },
    ),
    _Group(
        family="tricks",
        source="Bag of tricks, arXiv:1812.01187",
        shape=IMAGENET,
        options=(*_SIZES, "stem", _ZERO),
        rows={
            "resnet10t": (10, 5_435_488, 1_097_259_008),
            "resnet14t": (14, 10_081_632, 1_676_822_528),
            "resnet18d": (18, 11_708_744, 2_053_713_920),
            "resnet26d": (26, 16_014_408, 2_581_897_216),
            "resnet26t": (26, 16_011_872, 2_550_286_336),
            "resnet34d": (34, 21_816_904, 3_903_401_984),
            "resnet50c": (50, 25_576_264, 4_328_824_832),
            "resnet50d": (50, 25_576_264, 4_328_824_832),
            "resnet50s": (50, 25_680_808, 5_444_337_664),
            "resnet50t": (50, 25_573_728, 4_297_213_952),
            "resnet101c": (101, 44_568_392, 8_041_046_016),
            "resnet101d": (101, 44_568_392, 8_041_046_016),
            "resnet101s": (101, 44_672_936, 9_156_558_848),
            "resnet152c": (152, 60_212_040, 11_753_267_200),
            "resnet152d": (152, 60_212_040, 11_753_267_200),
            "resnet152s": (152, 60_316_584, 12_868_780_032),
            "resnet200d": (200, 64_693_064, 15_247_122_432),
            "resnext50d_32x4d": (50, 25_048_136, 4_470_120_448),
        },
    ),
    _Group(
        family="groupnorm",
        source="Group norm, arXiv:1803.08494",
        shape=IMAGENET,
        options=(*_SIZES, "stem", _ZERO),
        rows={
            "resnet50_gn": (50, 25_557_032, 4_089_184_256),
        },
    ),
    _Group(
        family="senet",
        source="SENet, arXiv:1709.01507",
        shape=IMAGENET,
        options=(*_SIZES, "stem", _ZERO),
        rows={
            "seresnet18": (18, 11_779_624, 1_814_161_408),
            "seresnet34": (34, 21_960_416, 3_663_920_128),
            "seresnet50": (50, 28_088_024, 4_091_699_200),
            "seresnet50t": (50, 28_104_720, 4_299_728_896),
            "seresnet101": (101, 49_326_872, 7_806_148_608),
            "seresnet152": (152, 66_821_848, 11_520_204_800),
            "seresnet152d": (152, 66_841_080, 11_759_845_376),
            "seresnet200d": (200, 71_855_096, 15_254_224_896),
            "seresnet269d": (269, 113_672_760, 20_281_032_704),
            "seresnext26d_32x4d": (26, 16_809_512, 2_711_740_416),
            "seresnext26t_32x4d": (26, 16_806_976, 2_680_129_536),
            "seresnext50_32x4d": (50, 27_559_896, 4_232_994_816),
            "seresnext101_32x4d": (101, 48_955_416, 7_974_739_968),
            "seresnext101_32x8d": (101, 93_569_048, 16_418_758_656),
            "seresnext101d_32x8d": (101, 93_588_280, 16_658_399_232),
            "seresnext101_64x4d": (101, 88_232_984, 15_465_013_248),
            "senet154": (154, 115_088_984, 20_688_363_520),
        },
    ),
    _Group(
        family="ecanet",
        source="ECA-Net, arXiv:1910.03151",
        shape=IMAGENET,
        options=(*_SIZES, "stem", _ZERO),
        rows={
            "ecaresnetlight": (50, 30_162_046, 4_089_287_424),
            "ecaresnet26t": (26, 16_011_916, 2_550_332_928),
            "ecaresnet50d": (50, 25_576_350, 4_328_912_640),
            "ecaresnet50t": (50, 25_573_814, 4_297_301_760),
            "ecaresnet101d": (101, 44_568_563, 8_041_220_864),
            "ecaresnet200d": (200, 64_693_400, 15_247_415_040),
            "ecaresnet269d": (269, 102_093_077, 20_269_980_416),
            "ecaresnext26t_32x4d": (26, 15_406_220, 2_678_783_488),
            "ecaresnext50t_32x4d": (50, 25_045_686, 4_438_597_376),
        },
    ),
    _Group(
        family="antialiased",
        source="Blur pooling, arXiv:1904.11486",
        shape=IMAGENET,
        options=(*_SIZES, "stem", _ZERO),
        rows={
            "resnetblur18": (18, 11_689_512, 2_334_298_112),
            "resnetblur50": (50, 25_557_032, 5_129_633_792),
            "resnetblur50d": (50, 25_576_264, 5_369_274_368),
            "resnetblur101d": (101, 44_568_392, 9_081_495_552),
            "resnetaa34d": (34, 21_816_904, 4_423_626_752),
            "resnetaa50": (50, 25_557_032, 5_129_633_792),
            "resnetaa50d": (50, 25_576_264, 5_369_274_368),
            "resnetaa101d": (101, 44_568_392, 9_081_495_552),
            "seresnetaa50d": (50, 28_107_256, 5_371_789_312),
            "seresnextaa101d_32x8d": (101, 93_588_280, 17_178_624_000),
        },
    ),
    _Group(
        family="resnetrs",
        source="ResNet-RS, arXiv:2103.07579",
        shape=IMAGENET,
        options=(*_SIZES, "stem", _ZERO),
        rows={
            "resnetrs50": (50, 35_691_912, 4_454_490_112),
            "resnetrs101": (101, 63_618_696, 8_175_624_192),
            "resnetrs152": (152, 86_621_576, 11_895_185_408),
            "resnetrs200": (200, 93_209_992, 15_391_137_792),
            "resnetrs270": (270, 129_861_448, 20_643_618_816),
            "resnetrs350": (350, 163_956_168, 26_332_012_544),
            "resnetrs420": (420, 191_891_656, 31_363_342_336),
        },
    ),
)

CATALOGUE: dict[str, ModelInfo] = {
    name: ModelInfo(
        name=name,
        family=group.family,
        depth=depth,
        parameters=parameters,
        macs=macs,
        source=group.source,
        shape=group.shape,
        num_classes=NUM_CLASSES[group.shape],
        options=group.options,
    )
    for group in _GROUPS
    for name, (depth, parameters, macs) in group.rows.items()
}
