"""What a detector learns from: which of COCO's rows, and where they are in a photo that was resized."""

import numpy as np
import pytest

from resnest.data.coco import run_lengths
from resnest.data.truths import is_learnt, moved, truth_of

FRAME = (40, 60)
LABELS = {3: 0, 7: 1}
ROW = {"bbox": [10, 20, 30, 10], "area": 300, "iscrowd": 0, "category_id": 7, "id": 1}
POLYGON = [[10, 20, 40, 20, 40, 30, 10, 30]]


@pytest.mark.parametrize(
    "change",
    [
        {"iscrowd": 1},
        {"ignore": 1},
        {"area": 0},
        {"bbox": [10, 20, 0.5, 10]},
        {"bbox": [10, 20, 30, 0]},
        {"bbox": [10, 20, -30, 10]},
        {"bbox": [60, 20, 30, 10]},
        {"bbox": [10, -30, 30, 30]},
        {"category_id": 4},
    ],
    ids=str,
)
def test_crowds_and_boxes_without_area_or_outside_are_not_learnt_from(change):
    assert is_learnt(ROW, FRAME, LABELS)
    assert not is_learnt(ROW | change, FRAME, LABELS)
    truth = truth_of([ROW | {"segmentation": POLYGON}, ROW | change | {"segmentation": POLYGON}], FRAME, LABELS, True)
    assert truth["boxes"].tolist() == [[10, 20, 40, 30]]
    assert truth["labels"].tolist() == [1]
    assert truth["masks"] == [POLYGON]


@pytest.mark.parametrize("masks", [False, True])
def test_a_photo_without_objects_has_none(masks):
    truth = moved(truth_of([], FRAME, LABELS, masks), FRAME, (80, 120), True)
    assert truth["boxes"].shape == (0, 4)
    assert truth["labels"].shape == (0,)
    assert len(truth.get("masks", ())) == 0


@pytest.mark.parametrize(("mirrored", "x"), [(False, (20, 80)), (True, (40, 100))])
def test_boxes_and_polygons_go_with_the_photo(mirrored, x):
    truth = moved(truth_of([ROW | {"segmentation": POLYGON}], FRAME, LABELS, True), FRAME, (20, 120), mirrored)
    assert truth["boxes"].tolist() == [[x[0], 10, x[1], 15]]
    (((x1, y1, x2, _, _, y3, *_),),) = truth["masks"]
    assert ({x1, x2}, y1, y3) == (set(x), 10, 15)


def test_boxes_are_cut_off_at_the_border():
    row = ROW | {"bbox": [-10, 30, 40, 30], "area": 1200}
    assert moved(truth_of([row], FRAME, LABELS, False), FRAME, FRAME, False)["boxes"].tolist() == [[0, 30, 30, 40]]


@pytest.mark.parametrize("plain", [False, True])
def test_run_lengths_make_bitmaps_of_all_masks(plain):
    mask = np.zeros(FRAME, bool)
    mask[20:30, 10:40] = True
    runs = run_lengths(mask)
    if plain:  # as COCO writes crowds: column by column, zeros first
        column = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]]))).tolist()
        runs = {"size": list(FRAME), "counts": np.diff([0, *column, mask.size]).tolist()}
    rows = [ROW | {"segmentation": runs}, ROW | {"segmentation": POLYGON}]
    truth = truth_of(rows, FRAME, LABELS, True)
    assert (truth["masks"] == mask).all()
    double = moved(truth, FRAME, (80, 120), False)["masks"]
    assert (double == mask.repeat(2, 0).repeat(2, 1)).all()
    assert (moved(truth, FRAME, (80, 120), True)["masks"] == double[:, :, ::-1]).all()
