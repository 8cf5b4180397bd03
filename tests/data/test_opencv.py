"""OpenCV's bilinear, against OpenCV itself: alone, as GluonCV brings it, and inside MXNet."""

import hashlib

import numpy as np
import pytest

from resnest.data.opencv import resize_bilinear

SIZES = [(9, 13), (1, 1), (1, 40), (64, 50), (300, 451), (37, 2)]


def opencv(pixels, height, width):
    import cv2

    return cv2.resize(pixels, (width, height), interpolation=1)


def mxnet(pixels, height, width):
    from resnest.gluon._mxnet import mx

    return mx.image.imresize(mx.nd.array(pixels, dtype="uint8"), width, height, interp=1).asnumpy()


@pytest.mark.parametrize("theirs", [pytest.param(theirs, marks=pytest.mark.gluon) for theirs in (opencv, mxnet)])
@pytest.mark.parametrize("before", SIZES)
def test_every_pixel_is_opencvs(theirs, before):
    pixels = np.random.default_rng(0).integers(0, 256, (*before, 3), np.uint8)
    for after in [*SIZES, (256, 384), (293, 440)]:
        np.testing.assert_array_equal(resize_bilinear(pixels, *after), theirs(pixels, *after), err_msg=str(after))


@pytest.mark.parametrize("theirs", [pytest.param(theirs, marks=pytest.mark.gluon) for theirs in (opencv, mxnet)])
def test_halving_takes_the_mean_as_opencv_does(theirs):
    pixels = np.random.default_rng(0).integers(0, 256, (34, 50, 3), np.uint8)
    np.testing.assert_array_equal(resize_bilinear(pixels, 17, 25), theirs(pixels, 17, 25))


def test_bands_change_nothing(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8)
    whole = resize_bilinear(pixels, 47, 91)
    monkeypatch.setattr("resnest.data.opencv.BAND", 1)
    np.testing.assert_array_equal(resize_bilinear(pixels, 47, 91), whole)


def test_one_size_is_a_copy():
    pixels = np.zeros((3, 4, 3), np.uint8)
    assert not np.shares_memory(resize_bilinear(pixels, 3, 4), pixels)


DRAWN = [(48, 71), (90, 120), (64, 80), (1, 1), (60, 40)]  # drawn one after the other


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((48, 71), (80, 120), "44537cd8ddc46ff1"),
        ((90, 120), (33, 40), "1314b40703597f4d"),
        ((64, 80), (32, 40), "304fd143ae496509"),
        ((1, 1), (5, 7), "e0d37f58a6145d09"),
        ((60, 40), (61, 39), "8ec87aa2aafa83f1"),
    ],
)
def test_whole_numbers_are_opencvs(before, after, expected):
    """SHA-256 of what `cv2.resize(..., interpolation=cv2.INTER_LINEAR)` of OpenCV 4.11 gives."""
    random = np.random.default_rng(0)
    drawn = {size: random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in DRAWN}
    found = resize_bilinear(drawn[before], *after)
    assert hashlib.sha256(found.tobytes()).hexdigest().startswith(expected)
