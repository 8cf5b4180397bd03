from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from resnest import SegmentationSpec
from resnest.jobs.verify.segmentation import verify
from tests.support.specs import tiny_segmenter

TRUTH = np.array([[0, 0, 1, 1], [2, 2, 255, 0]], np.uint8)


@dataclass
class Guess:
    """A labeller that gives every photo the same label map."""

    spec: SegmentationSpec
    found: np.ndarray

    def label(self, photo):
        return self.found


def pair(folder, size=(4, 2), truth=TRUTH):
    Image.new("RGB", size).save(folder / "photo.png")
    Image.fromarray(truth).save(folder / "labels.png")
    return folder / "photo.png", folder / "labels.png"


def test_every_pair_is_counted(tmp_path):
    found = np.array([[0, 1, 1, 1], [2, 2, 3, 0]], np.uint8)
    one = pair(tmp_path)
    scores = verify(Guess(tiny_segmenter(), found), [one, one, one])
    assert scores.pixel_accuracy == pytest.approx(6 / 7)
    np.testing.assert_allclose(scores.iou, [2 / 3, 2 / 3, 1, np.nan, np.nan])


@pytest.mark.parametrize(
    ("dataset", "chosen", "ignored"), [("voc", None, False), ("ade20k", None, True), ("ade20k", False, False)]
)
def test_zero_is_no_class_where_the_data_set_says_so(tmp_path, dataset, chosen, ignored):
    guess = Guess(tiny_segmenter(dataset=dataset), np.array([[3, 3, 0, 0], [1, 1, 2, 3]], np.uint8))
    scores = verify(guess, [pair(tmp_path)], zero_is_ignored=chosen)
    assert scores.pixel_accuracy == (1 if ignored else 0)


def test_a_label_map_of_another_size_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"labels\.png is 4x2 and its photo 5x3$"):
        verify(Guess(tiny_segmenter(), TRUTH), [pair(tmp_path, size=(5, 3))])


def test_the_caller_sees_how_many_pairs_are_done(tmp_path):
    pairs, seen = [pair(tmp_path)] * 2, []
    verify(Guess(tiny_segmenter(), TRUTH), pairs, track=lambda given: seen.append(given) or given)
    assert seen == [pairs]


def test_what_a_photo_cannot_be_labelled_for_is_said_with_its_name(tmp_path):
    class Refuses(Guess):
        def label(self, photo):
            raise ValueError("it is too small")

    with pytest.raises(ValueError, match=r"photo\.png: it is too small"):
        verify(Refuses(tiny_segmenter(), TRUTH), [pair(tmp_path)])


def test_every_file_is_looked_into_before_the_first_is_labelled(tmp_path):
    class Counts(Guess):
        def label(self, photo):
            raise AssertionError("labelled before all were looked into")

    (tmp_path / "other").mkdir()
    good, bad = pair(tmp_path), pair(tmp_path / "other", size=(5, 3))
    with pytest.raises(ValueError, match=r"other/labels\.png is 4x2 and its photo 5x3"):
        verify(Counts(tiny_segmenter(), TRUTH), [good, bad])


def test_a_network_of_300_classes_is_right_about_its_own_labels(tmp_path):
    found = np.array([[0, 255, 256, 299]] * 2, np.uint16)
    scores = verify(Guess(tiny_segmenter(num_classes=300), found), [pair(tmp_path, truth=found)])
    assert scores.pixel_accuracy == 1
    assert np.flatnonzero(scores.iou == 1).tolist() == [0, 255, 256, 299]
