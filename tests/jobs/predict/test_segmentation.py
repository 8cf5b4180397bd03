"""From a photo to labels: windows, scales and mirrors."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from resnest.backends import registry
from resnest.data.resize import resize
from resnest.jobs.predict.segmentation import SCALES, Inference, Labeller, slide, softmax, starts
from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like
from tests.support.specs import tiny_segmenter


def pixelwise(image):
    """A network that sees one pixel at a time, so that windows and borders cannot matter."""
    return np.concatenate([image, image[:, :1] * image[:, 1:2], -image.sum(1, keepdims=True)], axis=1)


def photo(height, width):
    return photo_like(1, 3, height, width)


@pytest.fixture(scope="module")
def segmenter():
    spec = tiny_segmenter(num_classes=21)
    return registry.load("torch").predictor(spec, draw_weights(spec))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 40), (50, 96)])
@pytest.mark.parametrize("stride", [1, 21, 32])
def test_windows_of_a_pixelwise_network_give_the_whole_result(height, width, stride):
    image = photo(height, width)
    np.testing.assert_allclose(slide(pixelwise, image, 32, stride), pixelwise(image), rtol=0, atol=1e-12)


def test_windows_cover_every_pixel_and_stay_inside():
    for length in range(32, 120):
        for stride in (1, 7, 21, 32):
            found = list(starts(length, 32, stride))
            assert found[0] == 0
            assert found[-1] == length - 32
            assert all(0 < after - before <= stride for before, after in zip(found, found[1:]))


@pytest.mark.torch
def test_one_window_as_large_as_the_photo_is_the_whole_photo(segmenter):
    image = photo(48, 48).astype("float32")
    np.testing.assert_array_equal(slide(segmenter, image, 48, 32), segmenter(image))


@pytest.mark.torch
def test_windows_move_with_the_photo(segmenter):
    strip = photo(32, 96).astype("float32")
    moved = np.roll(strip, -16, axis=3)
    here, there = slide(segmenter, strip, 32, 16), slide(segmenter, moved, 32, 16)
    # Columns that the same windows see before and after moving by the stride, away from the seam.
    np.testing.assert_allclose(there[..., 32:48], here[..., 48:64], rtol=0, atol=1e-5 * np.abs(here).max())


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_scales_and_mirrors_of_a_constant_photo_change_nothing(mode):
    image = np.ones((1, 3, 64, 80)) * np.array([0.5, -1.0, 2.0])[:, None, None]
    every = Inference(mode, window=32, stride=20, scales=SCALES, flip=True)
    np.testing.assert_allclose(every.probabilities(pixelwise, image), softmax(pixelwise(image)), atol=1e-12)


@pytest.mark.torch
def test_a_mirrored_photo_gives_mirrored_labels(segmenter):
    image = photo(40, 56).astype("float32")
    inference = Inference(flip=True)
    mirrored = inference.probabilities(segmenter, np.ascontiguousarray(image[..., ::-1]))
    np.testing.assert_allclose(mirrored[..., ::-1], inference.probabilities(segmenter, image), atol=1e-6)


def test_probabilities_sum_to_one():
    found = Inference(scales=(0.5, 1.5), flip=True).probabilities(pixelwise, photo(20, 30))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "tiled"}, "mode='tiled' must be whole or slide"),
        ({"stride": 600}, "stride=600 must be at least 1 and at most the window, 512"),
        ({"scales": ()}, "must be one or more numbers"),
        ({"scales": (0.0,)}, "must be one or more numbers above 0"),
    ],
)
def test_values_that_cover_no_photo_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Inference(**values)


def test_a_photo_smaller_than_the_window_is_one_sentence():
    with pytest.raises(ValueError, match="40x60 pixels is smaller than the window of 512: give a smaller window"):
        Inference("slide").probabilities(pixelwise, photo(40, 60))
    with pytest.raises(ValueError, match=r"100x100 pixels at scale 0\.5 is smaller than the window of 64"):
        Inference("slide", 64, 64, scales=SCALES).probabilities(pixelwise, photo(100, 100))


def plain(inference, predict, image):
    """The same in as many full-size arrays as it takes."""
    height, width = image.shape[2:]
    found = []
    for scale in inference.scales:
        scaled = resize(image, round(height * scale), round(width * scale))
        for step in (1, -1) if inference.flip else (1,):
            seen = np.ascontiguousarray(scaled[..., ::step])
            whole = inference.mode == "whole"
            logits = predict(seen) if whole else slide(predict, seen, inference.window, inference.stride)
            found.append(softmax(resize(logits[..., ::step], height, width)))
    return sum(found) / len(found)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.5), (1.5, 1.0)])
@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_probabilities_written_over_logits_are_those_of_arrays_apart(mode, scales, flip, monkeypatch):
    monkeypatch.setattr("resnest.data.resize.BAND", 3000)
    inference = Inference(mode, 16, 10, scales, flip)
    found = inference.probabilities(pixelwise, photo(40, 56))
    np.testing.assert_allclose(found, plain(inference, pixelwise, photo(40, 56)), rtol=0, atol=1e-14)


def test_softmax_leaves_its_logits_alone():
    logits = photo(4, 5)
    np.testing.assert_allclose(softmax(logits), np.exp(logits) / np.exp(logits).sum(1, keepdims=True), atol=1e-14)
    np.testing.assert_array_equal(logits, photo(4, 5))


def test_a_network_that_gives_its_photo_back_does_not_lose_it():
    image = photo(20, 30)
    found = Inference(flip=True).probabilities(lambda seen: seen, image)
    np.testing.assert_array_equal(image, photo(20, 30))
    np.testing.assert_allclose(found, softmax(image), atol=1e-14)


def test_logits_that_cannot_be_written_over_are_not():
    def predict(image):
        logits = pixelwise(image)
        logits.flags.writeable = False
        return logits

    np.testing.assert_array_equal(
        Inference().probabilities(predict, photo(20, 30)), Inference().probabilities(pixelwise, photo(20, 30))
    )


@pytest.mark.parametrize(
    ("inference", "sets"),
    [
        (Inference(), 1.2),
        (Inference(flip=True), 2.2),
        (Inference("slide", window=128, stride=128), 1.5),
    ],
)
def test_a_photo_is_labelled_in_little_more_than_its_logits(inference, sets):
    """The peak over the bytes of one full-size set of logits."""
    classes, height, width = 150, 256, 512

    def predict(image):
        return np.zeros((1, classes, *image.shape[2:]), np.float32)

    labeller = Labeller(tiny_segmenter(num_classes=classes), predict, inference)
    picture = Image.new("RGB", (width, height))
    tracemalloc.start()
    try:
        labeller.label(picture)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < sets * 4 * classes * height * width


@pytest.mark.parametrize(("classes", "dtype"), [(255, np.uint8), (256, np.uint16), (847, np.uint16)])
def test_a_label_is_as_wide_as_the_classes_need(classes, dtype):
    def predict(image):
        logits = np.zeros((1, classes, *image.shape[2:]), np.float32)
        logits[:, -1] = 1
        return logits

    found = Labeller(tiny_segmenter(num_classes=classes), predict, Inference()).label(Image.new("RGB", (6, 4)))
    assert found.dtype == dtype
    assert (found == classes - 1).all()
