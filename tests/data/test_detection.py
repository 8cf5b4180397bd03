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


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ([], "there is no photo to look at"),
        ([np.zeros((4, 4))], r"an array \(H, W, 3\), and this is an array \(4, 4\)"),
        ([np.zeros((0, 4, 3))], r"and this is an array \(0, 4, 3\)"),
        ([np.full((4, 4, 3), np.nan)], "pixels that are not finite"),
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
