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


def test_a_masks_border_is_stronger_than_its_inside_and_tells_neighbours_apart():
    masks = np.zeros((2, 200, 300), bool)
    masks[0, 100:150, 100:150] = masks[1, 100:150, 150:170] = True
    objects = found([99, 99, 151, 151], [149, 99, 171, 151], masks=masks) | {"labels": np.zeros(2, int)}
    drawn = np.asarray(draw_objects(Image.new("RGB", (300, 200)), objects, COCO, 0.4)).astype(int)
    tint, border = (np.array(COCO[0].color) * share for share in (0.4, 0.8))
    for x, color in ((120, tint), (160, tint), (169, border), (104, tint)):
        assert np.abs(drawn[120, x] - color).max() <= 1
    assert np.abs(drawn[102, 120] - tint).max() <= 1
    plain = np.asarray(draw_objects(Image.new("RGB", (300, 200)), objects, COCO, 0.0)).astype(int)
    assert not plain[105:145, 105:145].any()


def visible(drawn, label):
    """Where the picture has a class's colour."""
    return (np.asarray(drawn) == COCO[label].color).all(-1)


@pytest.mark.parametrize("box", [[60, 80, 200, 180], [0, 0, 300, 200], [100, 186, 112, 200], [250, 3, 300, 9]], ids=str)
def test_names_of_objects_in_one_place_do_not_cover_each_other(box):
    drawn = draw_objects(Image.new("RGB", (300, 200)), found(box, box, box), COCO, 0.5)
    assert [visible(drawn, label).sum() > least for label, least in enumerate((700, 600, 400))] == [True] * 3


def test_a_small_box_at_the_border_is_not_under_its_name_and_has_all_its_sides():
    photo = Image.new("RGB", (300, 200))
    for box in ([286, 0, 300, 10], [0, 190, 12, 200], [140, 0, 152, 9]):
        x1, y1, x2, y2 = box
        drawn = draw_objects(photo, found(box), COCO, 0.5)
        assert not np.asarray(drawn)[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].any()
        sides = visible(drawn, 0)[y1:y2, x1:x2]
        assert sides[0].all()
        assert sides[-1].all() or y2 < 200
        assert sides[:, 0].all()
        assert sides[:, -1].all() or x2 < 300


def test_names_are_black_on_bright_colours_and_white_on_dark_ones():
    for label, text in ((33, 0), (2, 255)):  # kites are green, cars are dark blue
        objects = found([60, 80, 200, 180]) | {"labels": np.array([label])}
        drawn = np.asarray(draw_objects(Image.new("RGB", (300, 200), (99, 99, 99)), objects, COCO, 0.5))
        assert (np.abs(drawn[66:77, 62:100].astype(int) - text) < 50).all(-1).sum() > 5


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
