"""COCO's numbers, annotation files and rows of results."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

from resnest.data import boxes
from resnest.data.coco import CATEGORY_IDS, category_ids, find_split, image_id, read_annotations, result_rows


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


GOOD = {
    "images": [{"id": 1, "file_name": "a.png"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [0, 0, 2, 3]}],
    "categories": [{"id": 7, "name": "b"}, {"id": 3, "name": "a"}],
}


def write(folder, content):
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_an_annotation_file_tells_its_classes_and_photos(tmp_path):
    found = read_annotations(write(tmp_path, GOOD), 2)
    assert found.category_ids == (3, 7)
    assert found.content["annotations"][0]["area"] == 6
    with pytest.raises(FileNotFoundError, match=r"names 1 photos that do not exist, the first .*a\.png"):
        found.photos(tmp_path)
    (tmp_path / "a.png").touch()
    assert found.photos(tmp_path) == [(1, tmp_path / "a.png")]
    with pytest.raises(ValueError, match="photo 1 has no height and width, which masks are drawn in"):
        found.check_masks()
    found.content["images"][0].update(height=2, width=3)
    with pytest.raises(ValueError, match="object 1 has no segmentation"):
        found.check_masks()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "names no photo"),
        ({"images": [{"id": 1}]}, "number 0 of its images has not all of id, file_name"),
        ({"images": GOOD["images"] * 2}, "two of its photos have the id 1"),
        ({"categories": []}, "names no class"),
        ({"annotations": None}, "no annotation file of COCO's form: it has no list of annotations"),
        ({"categories": [{"id": 1, "name": "a"}]}, "has 1 classes, and the network tells 2 apart"),
    ],
)
def test_what_is_no_annotation_file_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_annotations(write(tmp_path, GOOD | change), 2)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("images", "id", None),
        ("images", "file_name", 3),
        ("images", "height", "480"),
        ("images", "width", 0),
        ("annotations", "image_id", [1]),
        ("annotations", "bbox", None),
        ("annotations", "bbox", [1, 2]),
        ("annotations", "bbox", [1, 2, 3, math.nan]),
        ("annotations", "bbox", [1, 2, 3, "4"]),
        ("annotations", "segmentation", "x"),
        ("annotations", "segmentation", [[1, 2, 3, "4"]]),
        ("annotations", "segmentation", [1, 2, 3, 4, 5, 6]),
        ("annotations", "segmentation", {"counts": "x", "size": [1]}),
        ("annotations", "segmentation", {"counts": [3, 2], "size": [2, 2]}),
        ("annotations", "segmentation", {"counts": ["3"], "size": [2, 2]}),
        ("annotations", "area", "6"),
        ("annotations", "iscrowd", 7),
        ("categories", "id", "3"),
    ],
)
def test_a_value_that_nothing_can_be_done_with_is_named(tmp_path, part, field, value):
    content = json.loads(json.dumps(GOOD))
    content[part][0][field] = value
    with pytest.raises(ValueError, match=rf"annotations\.json: {field} of number 0 of its {part} is "):
        read_annotations(write(tmp_path, content), 2)


@pytest.mark.parametrize("mask", [[], None, [[1.5, 1, 2, 1, 2, 2]], {"counts": [3, 1], "size": [2, 2]}])
def test_every_form_of_a_mask_is_taken(tmp_path, mask):
    content = json.loads(json.dumps(GOOD))
    content["annotations"][0]["segmentation"] = mask
    assert read_annotations(write(tmp_path, content), 2).content["annotations"][0]["segmentation"] == mask


SQUARE = [0, 0, 2, 0, 2, 2, 0, 2]


def test_polygons_that_enclose_nothing_are_dropped_as_in_mmdetection(tmp_path, caplog):
    """And an object that has no others is ignored, by what asks for masks alone."""
    content = json.loads(json.dumps(GOOD))
    content["images"][0].update(height=2, width=3)
    masks = [[SQUARE, [1, 1, 2, 2]], [[1, 1], [], [0, 0, 2, 0, 2, 2, 1]], [SQUARE], {"counts": [3, 3], "size": [2, 3]}]
    content["annotations"] = [
        content["annotations"][0] | {"id": number, "segmentation": mask} for number, mask in enumerate(masks)
    ]
    found = read_annotations(write(tmp_path, content), 2)
    assert [row["segmentation"] for row in found.content["annotations"]] == masks
    for _ in range(2):
        found.check_masks()
    assert [row["segmentation"] for row in found.content["annotations"]] == [[SQUARE], [], [SQUARE], masks[3]]
    assert [row.get("ignore") for row in found.content["annotations"]] == [None, 1, None, None]
    (said,) = caplog.messages
    assert "4 polygons are left out, which have fewer than three points or half a one, and the masks of 1 obj" in said


def test_a_file_that_is_not_there_or_not_json_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no annotation file .*gone\.json"):
        read_annotations(Path(tmp_path, "gone.json"), 2)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json is no annotation file"):
        read_annotations(tmp_path / "bad.json", 2)


def test_the_parts_of_a_data_set_are_found_where_coco_and_tools_put_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no folder train or train2017 with photos"):
        find_split(tmp_path, "train")
    for folder, file in (
        ("train", "train/_annotations.coco.json"),
        ("train", "annotations/train.json"),
        ("val2017", "annotations/instances_val2017.json"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / file).parent.mkdir(exist_ok=True)
        if not list(tmp_path.rglob("*.json")):
            with pytest.raises(FileNotFoundError, match="no annotations of the photos in train: looked for anno"):
                find_split(tmp_path, "train")
        (tmp_path / file).touch()
        assert find_split(tmp_path, folder.removesuffix("2017")) == (tmp_path / folder, tmp_path / file)
