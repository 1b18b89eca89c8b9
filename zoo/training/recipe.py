"""How a network is trained, as data: `RECIPES["paper"]`. The optimizer and the trainer follow it.

fast                 small data in a minute: one cycle of SGD, averaged weights (the default)
paper                He et al. 2015 (arXiv:1512.03385): SGD in steps, for CIFAR or ImageNet
torchvision-v2       the recipe behind torchvision's V2 weights (pytorch/vision, issue 3995)
rsb-a2, rsb-a3       "ResNet strikes back" (arXiv:2110.00476): LAMB, binary cross entropy, mixing
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from zoo.data import Augment
from zoo.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how weights move, except for the network, the data and the seed."""

    epochs: int = 24
    """Passes over the training set."""
    batch: int = 64
    """Images in one step over all processes, or a few more: an epoch is cut into equal steps."""
    accumulate: int = 1
    """Parts into which each process cuts its share of a step, to save memory."""

    optimizer: str = "sgd"
    """`sgd`, or `lamb` (arXiv:1904.00962)."""
    lr: float = 0.1
    """Learning rate at its peak."""
    momentum: float = 0.9
    """Of SGD. LAMB always has 0.9 and 0.999."""
    nesterov: bool = True
    """Whether SGD looks ahead along its momentum."""
    weight_decay: float = 5e-3
    """L2 penalty on convolution and linear weights."""
    decay_all: bool = False
    """Decay batch norms and biases too, as the papers of 2015 did."""
    clip: float = 0.0
    """Largest norm of the whole gradient. 0 does not clip."""

    schedule: str = "cosine"
    """`cosine`: from the peak to 0. `step`: to a tenth at each milestone."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of all steps after which `step` divides the rate by ten."""
    warmup: float = 0.2
    """Share of all steps in which the learning rate climbs from 0 to the peak."""
    warmup_hold: float = 0.0
    """Above 0, the warm-up stays at this share of the peak instead, then jumps to the peak."""

    loss: str = "ce"
    """`ce`, cross entropy, or `bce`, one binary cross entropy for each class."""
    label_smoothing: float = 0.1
    """Share of the target that is spread evenly over all classes."""
    bce_threshold: float = 0.0
    """Above 0, `bce` takes each target above it as 1 and the others as 0."""
    mixup: float = 0.0
    """Parameter of mixup's beta distribution (arXiv:1710.09412). 0 does not mix."""
    cutmix: float = 0.0
    """The same for cutmix (arXiv:1905.04899). With both, each batch draws one of them."""

    shift: int = 1
    """Largest random shift in pixels, in each direction. The border is background."""
    flip: bool = False
    """Mirror half of the images. That is wrong for digits and fine for most photographs."""
    area: tuple[float, float] | None = None
    """Share of the image that a random crop takes before it is resized (arXiv:1409.4842)."""
    policy: str = ""
    """`trivialaugment` (arXiv:2103.10158) or `randaugment-m7-mstd0.5` (arXiv:1909.13719)."""
    erase: float = 0.0
    """Probability of erasing a random rectangle (arXiv:1708.04896)."""
    repeats: int = 1
    """Copies of each image in an epoch, augmented differently. It sees fewer images then."""
    size: int = 0
    """Height and width of training images. 0: those of the test images."""
    test_crop: float = 1.0
    """Share of a test image's shorter side that its crop takes. 1: all of it."""
    interpolation: str = "bilinear"
    """How images are resized: `bilinear` or `bicubic`."""

    average: float = 0.97
    """Decay per step of an exponential average of the weights. 0 keeps the last weights."""
    drop_path: float = 0.0
    """Probability of skipping the last residual unit; less for earlier ones (arXiv:1603.09382)."""
    zero_init_residual: bool = True
    """Start every residual unit as its shortcut alone (arXiv:1706.02677)."""

    precision: str = "fp32"
    """`fp32`, or `bf16`: autocast, with the weights in fp32."""
    channels_last: bool = False
    """Keep the channels of a pixel together in memory."""
    compile: bool = False
    """Compile both passes with Inductor first. It takes half a minute or more."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"{name} '{value}' is not a number; use {low:g} to {high:g}")
            if isinstance(low, int) and not isinstance(value, int):
                raise UsageError(f"{name} {value} is not a whole number; use {low} to {high}")
            if not low <= value <= high:
                raise UsageError(f"{name} {value} is out of range; use {low:g} to {high:g}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} '{getattr(self, name)}' is neither true nor false")
        if not isinstance(self.milestones, tuple):
            raise UsageError(f"milestones '{self.milestones}' are not shares, such as 0.5,0.75")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                known = " or ".join(allowed)
                raise UsageError(f"unknown {name} '{getattr(self, name)}'; use {known}")
        rising = list(self.milestones) == sorted(set(self.milestones))
        if not rising or not all(0 < share < 1 for share in self.milestones):
            raise UsageError(f"milestones {self.milestones} must rise between 0 and 1")
        self.augment()  # refuses what cannot be done to the images

    def augment(self) -> Augment:
        """What happens to each training image."""
        return Augment(
            shift=self.shift,
            flip=self.flip,
            area=self.area,
            size=self.size if self.area else 0,
            policy=self.policy,
            erase=self.erase,
        )


_SWITCHES = ("nesterov", "decay_all", "zero_init_residual", "channels_last", "compile")
_CHOICES = {
    "optimizer": ("sgd", "lamb"),
    "schedule": ("cosine", "step"),
    "loss": ("ce", "bce"),
    "precision": ("fp32", "bf16"),
    "interpolation": ("bilinear", "bicubic"),
}
_RANGES = (
    ("epochs", 1, 100_000),
    ("batch", 2, 1_000_000),
    ("accumulate", 1, 1024),
    ("lr", 0.0, 100.0),
    ("momentum", 0.0, 0.999),
    ("weight_decay", 0.0, 1.0),
    ("clip", 0.0, 1e6),
    ("warmup", 0.0, 0.9),
    ("warmup_hold", 0.0, 1.0),
    ("label_smoothing", 0.0, 0.9),
    ("bce_threshold", 0.0, 0.99),
    ("mixup", 0.0, 100.0),
    ("cutmix", 0.0, 100.0),
    ("repeats", 1, 100),
    ("size", 0, 4096),
    ("test_crop", 0.1, 1.0),
    ("average", 0.0, 0.9999999),
    ("drop_path", 0.0, 0.9),
)

_PAPER = Recipe(
    epochs=164,  # 64,000 steps of 128 of CIFAR's 50,000 images
    batch=128,
    nesterov=False,
    weight_decay=1e-4,
    decay_all=True,
    schedule="step",
    warmup=0.0,
    label_smoothing=0.0,
    shift=4,
    flip=True,
    average=0.0,
    zero_init_residual=False,
)
_MODERN = Recipe(
    warmup=0.0,
    shift=0,
    flip=True,
    area=(0.08, 1.0),
    mixup=0.2,
    cutmix=1.0,
    precision="bf16",
    channels_last=True,
)
_STRIKES_BACK = replace(
    _MODERN,
    batch=2048,
    optimizer="lamb",
    weight_decay=0.02,
    loss="bce",
    bce_threshold=0.2,
    label_smoothing=0.0,
    mixup=0.1,
    average=0.0,
    test_crop=0.95,
    interpolation="bicubic",
)

RECIPES: dict[str, Recipe] = {
    "fast": Recipe(),
    # Photographs: the usual decay, shifts of a sixteenth as with CIFAR's 32 pixels, mirroring.
    "fast-photographs": Recipe(weight_decay=5e-4, shift=4, flip=True),
    "paper": _PAPER,
    # 110 layers do not start to learn at 0.1: about 400 steps at 0.01 first (section 4.2).
    "paper-deep": replace(_PAPER, warmup=1 / 164, warmup_hold=0.1),
    # 600,000 steps of 256. "Divided by 10 when the error plateaus" is read as every third of them.
    "paper-imagenet": replace(
        _PAPER,
        epochs=120,
        batch=256,
        milestones=(1 / 3, 2 / 3),
        shift=0,
        area=(0.25, 1.0),
        test_crop=224 / 256,
    ),
    "torchvision-v2": replace(
        _MODERN,
        epochs=600,
        batch=1024,
        lr=0.5,
        nesterov=False,
        weight_decay=2e-5,
        warmup=5 / 600,
        policy="trivialaugment",
        erase=0.1,
        repeats=4,
        size=176,
        test_crop=224 / 232,
        average=0.999966,  # 0.99998 every 32 steps, as it is scaled there, for each step
        zero_init_residual=False,
    ),
    "rsb-a2": replace(
        _STRIKES_BACK,
        epochs=300,
        lr=5e-3,
        warmup=5 / 300,
        policy="randaugment-m7-mstd0.5",
        repeats=3,
        drop_path=0.05,
    ),
    "rsb-a3": replace(
        _STRIKES_BACK,
        epochs=100,
        lr=8e-3,
        warmup=5 / 100,
        policy="randaugment-m6-mstd0.5",
        size=160,
    ),
}


def find_recipe(name: str, *, depth: int, height: int, digits: bool) -> Recipe:
    """Return the recipe called `name`, in its form for this depth and height of test images.

    `fast` and `paper` have several forms. Each has its own name too. An unknown name is a
    UsageError that lists the known ones.
    """
    if name == "fast" and not digits:
        return replace(RECIPES["fast-photographs"], shift=max(1, height // 16))
    if name == "paper" and height > 64:
        name = "paper-imagenet"
    elif name == "paper" and depth >= 110:
        name = "paper-deep"
    if name not in RECIPES:
        raise UsageError(f"unknown --recipe '{name}'; choose one of: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if recipe.size:  # published for test images of 224 pixels
        recipe = replace(recipe, size=max(1, round(recipe.size * height / 224)))
    if digits:  # a mirrored digit is not a digit, and four pixels are half of one
        recipe = replace(recipe, flip=False, shift=min(recipe.shift, 1))
    return recipe


def amended(recipe: Recipe, settings: list[str]) -> Recipe:
    """Return `recipe` changed by `name=value` settings, such as `lr=0.05` or `milestones=0.6,0.8`.

    A field that does not exist, or a value of another type, is a UsageError.
    """
    known = {entry.name: getattr(recipe, entry.name) for entry in fields(Recipe)}
    changes: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise UsageError(f"--set {setting}: no such field; the fields are: {', '.join(known)}")
        try:
            changes[name] = _parse(text, known[name])
        except ValueError:
            kind = f"{name} ({type(known[name]).__name__})"
            raise UsageError(f"--set {setting}: '{text}' is not a value for {kind}") from None
    return replace(recipe, **changes)


def _parse(text: str, example: Any) -> Any:
    """`text` as a value of the type of `example`; ValueError if it is not one."""
    if isinstance(example, bool):
        return ("false", "true").index(text.lower()) == 1
    if isinstance(example, tuple) or example is None:
        return None if text == "none" else tuple(float(part) for part in text.split(","))
    return type(example)(text)
