"""Augmentation: seeded by request and position, within its limits, and each kind does something."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from zoo.data import Augment, MemorySplit, load, mix, random_erase
from zoo.data.images import random_box
from zoo.data.policies import RANDOM, TRIVIAL, apply_policy
from zoo.errors import UsageError

KINDS = {
    "shift": Augment(shift=3),
    "flip": Augment(flip=True),
    "area": Augment(area=(0.3, 1.0)),
    "trivialaugment": Augment(policy="trivialaugment"),
    "randaugment": Augment(policy="randaugment-m7-n2-mstd0.5"),
    "erase": Augment(erase=0.5),
    "all": Augment(shift=1, flip=True, area=(0.5, 1), policy="trivialaugment", erase=0.3),
}


@pytest.fixture(scope="module")
def split() -> MemorySplit:
    train = load("synthetic:4:16", size=24).train
    assert isinstance(train, MemorySplit)
    return train


@pytest.fixture(scope="module")
def flower() -> Image.Image:
    return Image.fromarray(load_sample_image("flower.jpg")).resize((96, 64))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_request_gives_the_same_bits(kind: str, split: MemorySplit) -> None:
    indices = torch.arange(16)
    torch.manual_seed(0)
    first = split.load(indices, KINDS[kind], 7)
    np.random.seed(1)
    torch.manual_seed(1)
    assert torch.equal(split.load(indices, KINDS[kind], 7), first)
    assert not torch.equal(split.load(indices, KINDS[kind], 8), first)
    assert not torch.equal(split.load(indices, None, 7), first)
    assert first.shape == (16, 3, 24, 24)
    assert first.dtype == torch.float32
    assert first.is_contiguous()
    assert first.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_changed_by_its_position(kind: str, split: MemorySplit) -> None:
    twice = split.load(torch.full((16,), 5), KINDS[kind], 0)
    assert len({image.numpy().tobytes() for image in twice}) > 1
    others = split.load(torch.tensor([*range(15), 5]), KINDS[kind], 0)
    assert torch.equal(twice[15], others[15]), "its neighbours do not matter"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", ["digits", "synthetic:2:8"])
def test_every_kind_takes_grey_images(kind: str, spec: str) -> None:
    data = load(spec, size=16, channels=1)
    changed = data.train.load(torch.arange(8), KINDS[kind], 1)
    assert changed.shape == (8, *data.shape)
    pixels = changed * data.preprocessing["std"][0] + data.preprocessing["mean"][0]
    assert -1e-5 < pixels.min()
    assert pixels.max() < 1 + 1e-5, "still the same range of pixels"
    assert pixels.max() > 0.5


def test_what_is_shifted_in_is_a_pixel_of_zero() -> None:
    digits = load("digits")
    shifted = digits.train.load(torch.zeros(64, dtype=torch.int64), Augment(shift=1), 0)
    background = -digits.preprocessing["mean"][0] / digits.preprocessing["std"][0]
    assert shifted[:, 0, 0, 0].tolist() == pytest.approx([background] * 64)
    assert len({image.numpy().tobytes() for image in shifted}) == 9, "all nine offsets"


def test_erasing_sets_one_rectangle_to_the_mean() -> None:
    images = torch.ones(400, 2, 20, 30)
    erased = random_erase(images.clone(), 0.5, torch.Generator().manual_seed(0)) == 0
    assert 150 < int(erased.flatten(1).any(1).sum()) < 250
    assert torch.equal(erased[:, 0], erased[:, 1]), "every channel of it"
    tall, wide = set(), set()
    for mask in erased[:, 0][erased.flatten(1).any(1)]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None]), "a rectangle"
        height, width = int(rows.sum()), int(columns.sum())
        assert 0.01 < height * width / 600 < 0.37
        assert 0.2 < height / width < 5
        tall.add(int(rows.nonzero()[0]))
        wide.add(int(columns.nonzero()[0]))
    assert len(tall) > 10 < len(wide), "anywhere"
    assert not (random_erase(images, 0.0, torch.Generator()) == 0).any()


def test_a_random_crop_has_the_share_and_the_aspect_that_are_allowed() -> None:
    rng = np.random.default_rng(0)
    shares, aspects = [], []
    for _ in range(500):
        left, top, right, bottom = random_box(400, 300, (0.1, 0.5), rng)
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
        shares.append((right - left) * (bottom - top) / 120_000)
        aspects.append((right - left) / (bottom - top))
    assert 0.098 < min(shares) < 0.12
    assert 0.45 < max(shares) < 0.505
    assert 0.74 < min(aspects) < 0.78
    assert 1.28 < max(aspects) < 1.35
    assert abs(float(np.mean(np.log(aspects)))) < 0.03, "wide as often as tall"
    assert random_box(1000, 10, (1.0, 1.0), rng) == (493, 0, 506, 10), "none fits: the centre"


@pytest.mark.parametrize("table", [TRIVIAL, RANDOM], ids=["trivial", "random"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_operation_changes_an_image_more_when_stronger(
    table: dict[str, tuple], mode: str, flower: Image.Image
) -> None:
    image = flower.convert(mode)
    fill = (10, 20, 30) if mode == "RGB" else 10

    def change(name: str, share: float, sign: float) -> float:
        strength, operation = table[name]
        changed = operation(image, strength(share, sign, 64), fill)
        assert (changed.size, changed.mode) == (image.size, mode)
        again = operation(image, strength(share, sign, 64), fill)
        assert changed.tobytes() == again.tobytes()
        return float(np.abs(np.asarray(changed, float) - np.asarray(image, float)).mean())

    for name in table:
        still = name == "identity" or (name == "color" and mode == "L")
        for sign in (-1.0, 1.0):
            weak, strong = change(name, 0.1, sign), change(name, 1.0, sign)
            assert (strong == 0) == still, name
            assert weak <= strong, name
            if table is TRIVIAL and name not in ("autocontrast", "equalize", "solarize"):
                assert change(name, 0.0, sign) == 0, f"{name} at no strength"


def test_policies_use_all_their_operations(
    monkeypatch: pytest.MonkeyPatch, flower: Image.Image
) -> None:
    for table, policy, draws in (
        (TRIVIAL, "trivialaugment", 300),
        (RANDOM, "randaugment-m7-n2", 300),
    ):
        used: list[str] = []
        for name, (strength, operation) in list(table.items()):

            def spy(image, value, fill, name=name, operation=operation, used=used):
                used.append(name)
                return operation(image, value, fill)

            monkeypatch.setitem(table, name, (strength, spy))
        for seed in range(draws):
            apply_policy(policy, flower, np.random.default_rng(seed), [0.5] * 3)
        assert set(used) == set(table)
        # RandAugment draws two and applies each with probability 1/2.
        assert abs(len(used) - draws) < (1 if table is TRIVIAL else 50)


def test_the_magnitude_of_randaugment_varies_and_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, flower: Image.Image
) -> None:
    shares: list[float] = []
    for name in RANDOM:
        spy = (lambda share, _sign, _side: shares.append(share) or 0.0, lambda image, *_: image)
        monkeypatch.setitem(RANDOM, name, spy)
    for seed in range(300):
        apply_policy("randaugment-m9-mstd1", flower, np.random.default_rng(seed), [0.5] * 3)
    assert max(shares) == 1.0
    assert 0.5 < min(shares) < 0.75
    assert np.mean(shares) == pytest.approx(0.9, abs=0.02)
    shares.clear()
    apply_policy("randaugment-m7-n10", flower, np.random.default_rng(0), [0.5] * 3)
    assert set(shares) == {0.7}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shift": -1}, "shift -1"),
        ({"shift": 0.5}, "shift 0.5"),
        ({"flip": 1}, "flip 1"),
        ({"area": (0.5, 0.1)}, r"area \(0.5, 0.1\)"),
        ({"area": (0.0, 1.0)}, "area"),
        ({"area": (0.5, 1.0, 1.0)}, "area"),
        ({"erase": math.nan}, "erase nan"),
        ({"policy": "randaugment"}, "policy 'randaugment' is unknown"),
        ({"policy": "randaugment-m11"}, "m 0 to 10"),
        ({"policy": "randaugment-m7-n0"}, "n 1 to 10"),
        ({"policy": "autoaugment"}, "use trivialaugment"),
    ],
)
def test_what_is_out_of_range_is_named(given: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Augment(**given)
    assert Augment(area=[0.1, 1.0]) == Augment(area=(0.1, 1.0)), "as JSON gives it"


def targets(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that are each full of their own number, and their targets."""
    images = torch.arange(float(count)).view(-1, 1, 1, 1).repeat(1, 2, 10, 14)
    return images, torch.eye(count)


def test_mixup_averages_images_and_targets() -> None:
    images, labels = targets(6)
    mixed, soft = mix(
        images, labels, mixup=1.0, cutmix=0.0, generator=torch.Generator().manual_seed(0)
    )
    value = (soft * torch.arange(6.0)).sum(1)
    torch.testing.assert_close(mixed, value.view(-1, 1, 1, 1).expand_as(mixed))
    assert not torch.equal(soft, labels)
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    assert torch.equal(images, targets(6)[0]), "the batch given stays as it is"


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels() -> None:
    images, labels = targets(6)
    shares = []
    for seed in range(60):
        mixed, soft = mix(
            images, labels, mixup=0.0, cutmix=1.0, generator=torch.Generator().manual_seed(seed)
        )
        pasted = mixed != images
        for index in range(6):
            share = float(pasted[index].float().mean())
            if share:
                assert float(soft[index, index]) == pytest.approx(1 - share, abs=1e-6)
        changed = pasted[:, 0].any(0)
        rows, columns = changed.any(1), changed.any(0)
        assert torch.equal(changed, rows[:, None] & columns[None]), "one rectangle"
        shares.append(float(changed.float().mean()))
    assert min(shares) < 0.2 < 0.7 < max(shares)


def test_mixing_draws_one_of_the_two_from_its_generator() -> None:
    images, labels = targets(8)
    kinds = set()
    for seed in range(20):
        made = [
            mix(images, labels, mixup=0.2, cutmix=1.0, generator=torch.Generator().manual_seed(s))
            for s in (seed, seed)
        ]
        assert torch.equal(made[0][0], made[1][0])
        kinds.add(bool((made[0][0] == made[0][0].round()).all()))
    assert kinds == {True, False}
    same = mix(images, labels, mixup=0.0, cutmix=0.0, generator=torch.Generator())
    assert same[0] is images
    assert same[1] is labels
    with pytest.raises(UsageError, match="mixup -1"):
        mix(images, labels, mixup=-1.0, cutmix=0.0, generator=torch.Generator())
