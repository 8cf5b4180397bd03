"""Photos as a detector reads them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from resnest.data.detection import fitted_size, prepare
from tests.support.specs import tiny_detector


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (800, 1067)),
        (640, 480, (1067, 800)),
        (427, 640, (800, 1199)),
        (300, 1000, (400, 1333)),
        (1, 1, (800, 800)),
        (1, 5000, (1, 1333)),
    ],
)
def test_a_photo_fits_its_long_and_its_short_side(height, width, expected):
    assert fitted_size(height, width, (1333, 800)) == expected


def test_photos_are_resized_normalised_and_then_padded():
    photos = [np.full((32, 32, 3), 255, np.uint8), Image.new("L", (48, 24), 0)]
    batch = prepare(photos, tiny_detector())
    assert batch.images.shape == (2, 3, 64, 96)
    assert batch.images.dtype == np.float32
    assert batch.sizes.tolist() == [[64, 64], [48, 96]]
    assert batch.scales.tolist() == [[2, 2], [2, 2]]
    assert batch.frames == [(32, 32), (24, 48)]
    white = (255 - np.array([123.68, 116.779, 103.939])) / [58.393, 57.12, 57.375]
    assert np.allclose(batch.images[0, :, :, :64], white[:, None, None], rtol=1e-6)
    assert not batch.images[0, :, :, 64:].any()
    assert not batch.images[1, :, 48:].any()
    assert batch.images[1, :, :48].max() < -1.8


def test_scales_are_those_of_the_whole_pixels_that_a_photo_became():
    batch = prepare([np.zeros((30, 40, 3), np.uint8)], tiny_detector())
    assert batch.sizes.tolist() == [[64, 85]]
    assert batch.scales.tolist() == [[85 / 40, 64 / 30]]


def test_every_kind_of_picture_is_seen_in_eight_bits_of_red_green_and_blue():
    deep = np.linspace(0, 65535, 24 * 48).reshape(24, 48).astype(np.uint16)
    shown = np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=2)
    seen = prepare([Image.fromarray(deep), shown, shown.astype(float)], tiny_detector()).images
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[1], seen[2])
    turned = Image.fromarray(shown)
    turned.getexif()[0x0112] = 6
    assert prepare([turned], tiny_detector()).frames == [(48, 24)]
    for mode in ("RGBA", "LA", "P", "CMYK"):
        assert prepare([Image.fromarray(shown).convert(mode)], tiny_detector()).frames == [(24, 48)]


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ([], "there is no photo to look at"),
        ([np.zeros((4, 4))], r"an array \(H, W, 3\) of numbers, and this is an array \(4, 4\) of float64"),
        ([np.zeros((0, 4, 3))], r"and this is an array \(0, 4, 3\)"),
        ([np.full((4, 4, 3), np.nan)], "pixels that are not finite"),
        ([np.zeros((4, 4, 3), bool)], "of numbers, and this is an array .* of bool"),
        (["street.jpg"], "and this is 'street.jpg'"),
        ([None], "and this is None"),
        ("street.jpg", r"photos come as a list: give \[photo\] for one"),
        (Image.new("RGB", (4, 4)), "photos come as a list"),
        (np.zeros((4, 4, 3), np.uint8), "photos come as a list"),
        ([np.linspace(0, 1, 48).reshape(4, 4, 3)], "these are 0 to 1: give 255 times as much"),
        ([np.full((4, 4, 3), 300.0)], "a photo's pixels are 0 to 255, and these are 300 to 300"),
    ],
)
def test_what_is_no_photo_is_named(photos, message):
    with pytest.raises(ValueError, match=message):
        prepare(photos, tiny_detector())


def test_a_detector_of_other_channels_takes_no_photos():
    spec = tiny_detector()
    spec = dataclasses.replace(spec, backbone=dataclasses.replace(spec.backbone, in_channels=1))
    with pytest.raises(ValueError, match="tiny takes 1 channels, and a photo has 3"):
        prepare([np.zeros((4, 4, 3), np.uint8)], spec)
