"""Objects drawn over their photo."""

import numpy as np
import pytest
from PIL import Image

from resnest.data.classes import classes_of
from resnest.jobs.predict.detection import above
from resnest.jobs.predict.draw import draw_objects

COCO = classes_of("coco", 80)


def found(*boxes, masks=None):
    image = {
        "boxes": np.array(boxes, "float32").reshape(-1, 4),
        "scores": np.linspace(0.9, 0.5, len(boxes), dtype="float32"),
        "labels": np.arange(len(boxes)),
    }
    return image if masks is None else image | {"masks": masks}


@pytest.mark.parametrize("ground", [0, 255])
def test_lines_and_names_differ_from_dark_and_from_light(ground):
    photo = Image.new("RGB", (300, 200), (ground,) * 3)
    drawn = np.asarray(draw_objects(photo, found([60, 80, 200, 180]), COCO, 0.5)).astype(int)
    contrast = np.abs(drawn - ground).max(2)
    assert contrast[80, 100:180].min() > 60  # the upper side, in the class's colour
    across = drawn[120, 50:70].max(1)
    assert across.max() - across.min() > 200  # the left side has a light and a dark edge
    name = drawn[64:78, 62:120]
    assert len(np.unique(name.reshape(-1, 3), axis=0)) > 5
    assert not contrast[100:160, 80:180].any()


def test_a_mask_is_tinted_in_its_classs_colour():
    mask = np.zeros((1, 200, 300), bool)
    mask[0, 100:150, 100:150] = True
    drawn = np.asarray(draw_objects(Image.new("RGB", (300, 200)), found([60, 80, 200, 180], masks=mask), COCO, 1.0))
    assert tuple(drawn[120, 120]) == COCO[0].color
    assert not drawn[160, 160].any()


def test_boxes_outside_and_without_area_do_no_harm():
    photo = Image.new("RGB", (30, 20))
    assert draw_objects(photo, found([-9, -9, 90, 90], [5, 5, 5, 5], [29, 19, 30, 20]), COCO, 0.5).size == (30, 20)
    assert draw_objects(Image.new("RGB", (1, 1)), found([0, 0, 1, 1]), COCO, 0.5).size == (1, 1)
    assert np.array_equal(draw_objects(photo, found(), COCO, 0.5), photo)
    with pytest.raises(ValueError, match="opacity=2 must be between 0"):
        draw_objects(photo, found(), COCO, 2)


def test_a_threshold_keeps_what_reaches_it():
    masks = np.zeros((3, 4, 4), bool)
    kept = above(found([0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3], masks=masks), 0.7)
    assert kept["labels"].tolist() == [0, 1]
    assert kept["masks"].shape == (2, 4, 4)
