"""COCO's numbers and rows of results."""

import json

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

from resnest.data import boxes
from resnest.data.coco import CATEGORY_IDS, category_ids, image_id, result_rows


def test_eighty_labels_have_ninety_numbers():
    assert len(CATEGORY_IDS) == 80
    assert (CATEGORY_IDS[0], CATEGORY_IDS[11], CATEGORY_IDS[-1]) == (1, 13, 90)
    assert category_ids("coco", 80) == CATEGORY_IDS
    assert category_ids("", 3) == (1, 2, 3)
    assert category_ids("coco", 13) == tuple(range(1, 14))


def test_boxes_are_written_by_corner_and_sides():
    corners = np.array([[1.0, 2, 5, 9], [0, 0, 0, 0]])
    assert boxes.with_sides(corners).tolist() == [[1, 2, 4, 7], [0, 0, 0, 0]]
    assert np.array_equal(boxes.with_corners(boxes.with_sides(corners)), corners)


@pytest.mark.parametrize(("name", "number"), [("000000000139.jpg", 139), ("street.jpg", "street"), ("a1.png", "a1")])
def test_a_photo_called_like_cocos_has_its_number(name, number):
    assert image_id(name) == number


def test_results_are_cocos_rows_that_json_can_hold():
    mask = np.zeros((2, 6, 5), bool)
    mask[0, 1:4, 2] = True
    found = {
        "boxes": np.array([[1, 2, 4, 6], [0, 0, 1, 1]], "float32"),
        "scores": np.array([0.75, 0.5], "float32"),
        "labels": np.array([79, 0]),
        "masks": mask,
    }
    first, second = json.loads(json.dumps(result_rows(139, found, CATEGORY_IDS)))
    assert (first["image_id"], first["category_id"], first["bbox"], first["score"]) == (139, 90, [1, 2, 3, 4], 0.75)
    assert second["category_id"] == 1
    assert np.array_equal(pycocotools_mask.decode(first["segmentation"]), mask[0])
    assert not pycocotools_mask.decode(second["segmentation"]).any()
    del found["masks"]
    assert "segmentation" not in result_rows(139, found, CATEGORY_IDS)[0]
