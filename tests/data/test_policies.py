import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from resnest.data.policies import AUTOAUGMENT, RANDAUGMENT, apply, autoaugment, randaugment
from tests.support.paths import FIXTURES, REPOSITORY

GOLDEN = json.loads((FIXTURES / "autoaugment.json").read_text())["sub_policies"]

OURS = {"Posterize2": "posterize", "ShearX": "shear_x"}

PHOTOS = {
    "astronaut.jpg": FIXTURES / "astronaut.jpg",
    "coffee.jpg": FIXTURES / "coffee.jpg",
    "chelsea.jpg": REPOSITORY / "resnest" / "data" / "assets" / "chelsea.jpg",
}


@pytest.mark.parametrize("name", PHOTOS)
def test_every_sub_policy_is_the_authors_to_the_pixel(name):
    photo = Image.open(PHOTOS[name]).convert("RGB")
    for ours, golden in zip(AUTOAUGMENT, GOLDEN, strict=True):
        theirs = [(one["name"], one["probability"], one["level"]) for one in golden["operations"]]
        assert list(ours) == [(OURS.get(name, name.lower()), *numbers) for name, *numbers in theirs]
        image = photo
        for operation, _, level in ours:
            image = apply(image, operation, level)
        assert hashlib.sha256(image.tobytes()).hexdigest() == golden["sha256"][name], ours


class Drawn:
    """Random numbers that are said beforehand."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def __getattr__(self, name):
        return lambda *arguments: self.numbers.pop(0)


def test_an_operation_happens_with_its_own_probability_and_sign():
    photo = Image.open(PHOTOS["coffee.jpg"])
    # Sub-policy 0: posterize (0.4) does not happen, rotate (0.6) does, the other way round.
    assert autoaugment(photo, Drawn(0, 0.41, 0.59, 0.6)) == photo.rotate(-27)
    assert autoaugment(photo, Drawn(0, 0.41, 0.61)) == photo


def test_every_photo_gets_some_of_the_policies():
    photo = Image.open(PHOTOS["coffee.jpg"]).resize((32, 32))
    random = np.random.default_rng(0)
    results = {autoaugment(photo, random).tobytes() for _ in range(200)}
    assert len(results) > 25


@pytest.mark.parametrize("number", range(len(RANDAUGMENT)))
def test_every_operation_of_randaugment_does_something_and_keeps_the_size(number):
    photo = Image.open(PHOTOS["coffee.jpg"]).point([value // 2 + 60 for value in range(256)] * 3)
    for level in (6, 12, 18):
        image = RANDAUGMENT[number](photo, level / 30, np.random.default_rng(0))
        assert (image.mode, image.size) == ("RGB", photo.size)
        assert image != photo


def affine(photo, *matrix):
    return photo.transform(photo.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def test_randaugment_moves_by_as_much_as_the_authors_and_either_way():
    photo = Image.open(PHOTOS["coffee.jpg"])
    for drawn, sign in ((0.5, 1), (0.6, -1)):
        expected = {
            3: photo.rotate(sign * 12),
            11: affine(photo, 1, sign * 0.12, 0, 0, 1, 0),
            12: affine(photo, 1, 0, 0, sign * 0.12, 1, 0),
            14: affine(photo, 1, 0, sign * 40, 0, 1, 0),
            15: affine(photo, 1, 0, 0, 0, 1, sign * 40),
        }
        for number, image in expected.items():
            assert RANDAUGMENT[number](photo, 0.4, Drawn(drawn)) == image, number


@pytest.mark.parametrize(
    ("middle", "left_top", "right_bottom"), [((10, 20), (2, 12), (18, 28)), ((3, 98), (0, 90), (16, 99))]
)
def test_randaugment_cuts_a_square_out_that_ends_with_the_photo(middle, left_top, right_bottom):
    photo = Image.new("RGB", (100, 100))
    cut = RANDAUGMENT[13](photo, 0.4, Drawn(*middle))
    assert cut.getpixel(left_top) == (125, 123, 114)
    assert cut.getbbox() == (*left_top, *(edge + 1 for edge in right_bottom))
    assert photo.getbbox() is None


def test_randaugment_leaves_half_of_its_operations_out():
    photo = Image.open(PHOTOS["coffee.jpg"]).resize((32, 32))
    random = np.random.default_rng(0)
    untouched = sum(randaugment(photo, 1, 12, random).tobytes() == photo.tobytes() for _ in range(400))
    assert 160 < untouched < 240


def test_numbers_of_randaugment_are_the_authors():
    photo = Image.new("RGB", (4, 4), (100, 103, 90))
    solarize, added = RANDAUGMENT[5], RANDAUGMENT[6]
    assert solarize(photo, 12 / 30, None).getpixel((0, 0)) == (100, 152, 90)  # from 102.4 on
    assert added(photo, 12 / 30, None).getpixel((0, 0)) == (111, 108, 121)  # 44 more, then from 128 on
