import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from resnest.data.augment import EIGENVECTORS, Augment, Foreign, crop_box, jittered, lighting
from resnest.data.opencv import resize_bilinear
from resnest.data.photos import normalise
from resnest.specs.recipe import Augmentation, get_recipe
from tests.support.paths import FIXTURES

PHOTO = Image.open(FIXTURES / "coffee.jpg").convert("RGB")


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", ["resnest50", "resnest269"])
@pytest.mark.parametrize("preset", ["gluon", "encoding", "finetune"])
def test_a_sample_follows_from_its_generator_alone(name, preset):
    augment = Augment(get_recipe(name, preset).augmentation, 64)
    first, again, other = (augment(PHOTO, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 64, 64)
    assert first.dtype == np.float32
    assert first.flags.c_contiguous
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_nothing_drawn_is_the_evaluations_square():
    plain = Augmentation(crop="centre", interpolation="bicubic", flip=0)
    seen = Augment(plain, 224)(PHOTO, np.random.default_rng(0))
    side = 400 * 224 / 256
    box = tuple(round(edge) for edge in ((600 - side) / 2, (400 - side) / 2, (600 + side) / 2, (400 + side) / 2))
    expected = normalise(PHOTO.crop(box).resize((224, 224), Image.Resampling.BICUBIC))
    assert np.array_equal(seen, expected[0])


@pytest.mark.parametrize("crop", ["inception", "efficientnet"])
@pytest.mark.parametrize("size", [(600, 400), (400, 600), (50, 50), (7, 300), (1, 1)])
def test_boxes_lie_in_the_photo_and_have_the_area_and_ratio_of_the_recipe(crop, size, random):
    recipe = Augmentation(crop=crop, area=(0.1, 0.5), tries=100)
    boxes = [crop_box(recipe, 224, *size, random) for _ in range(300)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
    if min(size) >= 50:  # no box fits into the thin one
        assert len(set(boxes)) > 20
        areas = [(box[2] - box[0]) * (box[3] - box[1]) / math.prod(size) for box in boxes]
        ratios = [(box[2] - box[0]) / (box[3] - box[1]) for box in boxes]
        assert 0.09 < min(areas) < 0.15
        assert 0.4 < max(areas) < 0.52
        assert 0.7 < min(ratios) < max(ratios) < 1.4


def test_inception_draws_areas_evenly_and_the_other_one_heights(random):
    def mean_area(crop):
        boxes = [crop_box(Augmentation(crop=crop, area=(0.1, 0.7)), 224, 512, 512, random) for _ in range(4000)]
        return np.mean([(box[2] - box[0]) * (box[3] - box[1]) / 512**2 for box in boxes])

    assert mean_area("inception") == pytest.approx(0.40, abs=0.01)
    assert mean_area("efficientnet") == pytest.approx(0.356, abs=0.01)  # the square of an even side, on average


def test_the_other_crop_covers_a_tenth_whatever_the_area(random):
    recipe = Augmentation(crop="efficientnet", area=(0.001, 0.2), tries=100)
    boxes = [crop_box(recipe, 224, 500, 400, random) for _ in range(300)]
    assert min((box[2] - box[0]) * (box[3] - box[1]) for box in boxes) >= 0.1 * 500 * 400


@pytest.mark.parametrize(
    ("columns_a_row", "tallest"),
    [
        (10.4 / 15, 14),  # 15 rows would be 10.4 columns wide: a row is taken back, although 10 columns fit
        (10 / 16, 16),  # 16 rows are as wide as the photo, and 17 would be 10.6 columns wide
    ],
)
def test_the_other_crop_is_no_wider_than_the_photo_before_rounding_either(columns_a_row, tallest, random):
    recipe = Augmentation(crop="efficientnet", ratio=(columns_a_row, columns_a_row), tries=100)
    boxes = [crop_box(recipe, 224, 10, 20, random) for _ in range(500)]
    assert max(bottom - top for _, top, _, bottom in boxes) == tallest


def test_a_box_of_the_whole_photo_ends_the_other_crops_tries():
    """As in the authors' script: the centre is taken, and nothing is drawn again."""
    drawn = iter([1.0, 100.0])  # columns a row, and rows
    random = SimpleNamespace(uniform=lambda low, high: next(drawn))
    assert crop_box(Augmentation(crop="efficientnet"), 224, 100, 100, random) == (6, 6, 94, 94)


def test_a_photo_that_no_box_fits_gives_its_centre(random):
    recipe = Augmentation(area=(1, 1), ratio=(2, 2))
    assert crop_box(recipe, 224, 100, 100, random) == (6, 6, 94, 94)


def test_without_antialiasing_pixels_are_opencvs(random):
    augment = Augment(Augmentation(antialias=False), 100)
    for image in (PHOTO, PHOTO.resize((43, 61))):
        theirs = resize_bilinear(np.asarray(image), 100, 100)
        assert np.abs(np.asarray(augment.resized(image)).astype(int) - theirs).max() <= 1  # its weights have 11 bits


def test_half_of_the_photos_are_mirrored():
    augment = Augment(Augmentation(crop="centre"), 16)
    plain = Augment(Augmentation(crop="centre", flip=0), 16)(PHOTO, np.random.default_rng(0))
    seen = [augment(PHOTO, np.random.default_rng(seed)) for seed in range(200)]
    mirrored = sum(np.array_equal(one, plain[:, :, ::-1]) for one in seen)
    assert mirrored + sum(np.array_equal(one, plain) for one in seen) == 200
    assert 75 < mirrored < 125


def test_colours_are_torchvisions():
    from torchvision.transforms.v2 import functional

    class Order:
        """Brightness, saturation, contrast, with factors that are said beforehand."""

        def __init__(self):
            self.factors = [0.7, 1.3, 0.9]

        def random(self, count):
            return np.array([0.1, 0.3, 0.2])[:count]

        def uniform(self, low, high):
            assert (low, high) == (0.6, 1.4)
            return self.factors.pop(0)

    ours = jittered(PHOTO, 0.4, Order())
    theirs = functional.adjust_saturation(functional.adjust_brightness(PHOTO, 0.7), 1.3)
    theirs = functional.adjust_contrast(theirs, 0.9)
    assert ours == theirs
    assert jittered(PHOTO, 0, None) is PHOTO


def test_lighting_has_the_spread_of_imagenets_colours(random):
    noise = np.array([lighting(0.1, random) for _ in range(5000)])
    expected = [0.0124, 0.0127, 0.0128]  # 0.1 * sqrt(sum of (vector * value) ** 2), channel by channel
    assert noise.std(axis=0) == pytest.approx(expected, rel=0.05)
    assert np.corrcoef(noise.T).min() > 0.95  # most of it is brightness
    assert not lighting(0, None).any()
    assert np.allclose(EIGENVECTORS.T @ EIGENVECTORS, np.eye(3), atol=1e-3)  # components at right angles


def test_policies_come_before_the_crop(monkeypatch):
    seen = []
    monkeypatch.setattr("resnest.data.augment.autoaugment", lambda image, random: seen.append(image.size) or image)
    monkeypatch.setattr("resnest.data.augment.randaugment", lambda image, *numbers: seen.append(numbers[:2]) or image)
    plain = Augmentation(flip=0)
    for auto in ("autoaugment", "randaugment"):
        Augment(dataclasses.replace(plain, auto=auto), 32)(PHOTO, np.random.default_rng(0))
    assert seen == [PHOTO.size, (2, 12)]


def test_torchvisions_transforms_draw_from_the_sample_too():
    import torch
    from torchvision.transforms import v2

    transform = v2.Compose([v2.RandomResizedCrop(32), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    foreign = Foreign(transform, torch.manual_seed)
    first, again, other = (foreign(PHOTO, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 32, 32)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
