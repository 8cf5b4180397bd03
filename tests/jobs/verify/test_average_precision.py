"""COCO's average precision, on files small enough to count by hand."""

from pathlib import Path

import numpy as np
import pytest

from resnest.data.annotations import Annotations
from resnest.data.coco import run_lengths
from resnest.jobs.verify.average_precision import average_precision


def truth(*boxes, **more):
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, **more}
        for n, box in enumerate(boxes, start=1)
    ]
    content = {"images": [{"id": 1, "height": 200, "width": 200}], "annotations": rows, "categories": [{"id": 1}]}
    return Annotations(Path("a.json"), content)


def found(box, score=0.9, **more):
    return {"image_id": 1, "category_id": 1, "bbox": box, "score": score, **more}


def test_half_of_the_objects_found_is_half_the_precision():
    annotations = truth([0, 0, 40, 40], [100, 100, 40, 40])
    precision = average_precision(annotations, [found([0, 0, 40, 40])], "bbox")
    assert precision.all == pytest.approx(51 / 101)  # 101 points of recall, of which half are reached
    assert precision.medium == precision.all
    assert np.isnan(precision.small)


def test_a_box_that_meets_by_three_quarters_counts_up_to_there():
    precision = average_precision(truth([0, 0, 100, 40]), [found([0, 0, 76, 40])], "bbox")
    assert (precision.at_50, precision.at_75) == pytest.approx((1, 1))
    assert precision.all == pytest.approx(0.6)


def test_nothing_found_is_zero_and_a_crowd_counts_neither_way():
    assert average_precision(truth([0, 0, 40, 40]), [], "bbox").all == 0
    crowd = truth([0, 0, 40, 40], [100, 100, 80, 80])
    crowd.content["annotations"][1]["iscrowd"] = 1
    rows = [found([0, 0, 40, 40], 0.5), found([110, 110, 20, 20], 0.9)]
    assert average_precision(crowd, rows, "bbox").all == pytest.approx(1)
    assert average_precision(truth([0, 0, 0, 0], [0, 0, 40, 40]), rows[:1], "bbox").at_50 == pytest.approx(51 / 101)


def test_masks_are_sorted_by_their_own_area():
    """A thin cross in a large box is a small object."""
    mask = np.zeros((200, 200), bool)
    mask[100, 20:180] = mask[20:180, 100] = True
    encoded = run_lengths(mask)
    annotations = truth([20, 20, 160, 160], segmentation=encoded)
    annotations.content["annotations"][0]["area"] = int(mask.sum())
    rows = [found([20, 20, 160, 160], segmentation=encoded)]
    precision = average_precision(annotations, rows, "segm")
    assert precision.small == pytest.approx(1)
    assert np.isnan(precision.large)
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}


@pytest.mark.parametrize("numbers", [(0, 1), (5, 5)], ids=["zero", "twice"])
def test_objects_count_whatever_their_numbers_are(numbers):
    annotations = truth([0, 0, 40, 40], [100, 100, 40, 40])
    for row, number in zip(annotations.content["annotations"], numbers):
        row["id"] = number
    rows = [found([0, 0, 40, 40]), found([100, 100, 40, 40])]
    assert average_precision(annotations, rows, "bbox").all == pytest.approx(1)
    assert [row["id"] for row in annotations.content["annotations"]] == [*numbers]


SQUARE = [[0, 0, 40, 0, 40, 40, 0, 40]]


@pytest.mark.parametrize(
    ("row", "share"),
    [
        ({"iscrowd": 1, "segmentation": {"size": [200, 200], "counts": [0, 40000]}}, 1),
        ({"iscrowd": 1, "segmentation": SQUARE}, 1),
        ({"bbox": [90, 90, 0, 0], "area": 0, "segmentation": [[90, 90] * 3]}, 51 / 101),
        ({"category_id": 5}, 1),
        ({"image_id": 8}, 1),
    ],
    ids=["crowd in run lengths", "crowd as polygon", "empty", "of no class", "of no photo"],
)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_crowds_empty_objects_and_strangers_are_counted_as_coco_does(row, share, kind):
    """An empty object is one that nobody finds, and a crowd, as what is of no class or photo, is asked of nobody."""
    annotations = truth([0, 0, 40, 40], [100, 100, 40, 40], segmentation=SQUARE)
    annotations.content["annotations"][1].update(row)
    mask = np.zeros((200, 200), bool)
    mask[:40, :40] = True
    rows = [found([0, 0, 40, 40], segmentation=run_lengths(mask))]
    assert average_precision(annotations, rows, kind).all == pytest.approx(share)


def test_a_photo_without_annotations_makes_what_is_found_in_it_wrong():
    annotations = truth([0, 0, 40, 40])
    annotations.content["images"].append({"id": 2, "height": 200, "width": 200})
    right, wrong = found([0, 0, 40, 40], 0.5), found([0, 0, 40, 40], 0.9) | {"image_id": 2}
    assert average_precision(annotations, [right], "bbox").all == pytest.approx(1)
    assert average_precision(annotations, [right, wrong], "bbox").all == pytest.approx(0.5)


def test_an_object_without_a_mask_is_judged_by_its_box_alone():
    annotations = truth([0, 0, 40, 40], [100, 100, 40, 40], segmentation=SQUARE)
    annotations.content["annotations"][1]["segmentation"] = []
    mask = np.zeros((200, 200), bool)
    mask[:40, :40] = True
    rows = [found([0, 0, 40, 40], segmentation=run_lengths(mask))]
    assert average_precision(annotations, rows, "segm").all == pytest.approx(1)
    assert average_precision(annotations, rows, "bbox").all == pytest.approx(51 / 101)
