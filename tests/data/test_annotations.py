"""Annotation files of COCO's form."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnest.data.annotations import find_split, read_annotations
from resnest.data.coco import run_lengths

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
        ({"images": [GOOD["images"][0], GOOD["images"][0] | {"id": "one"}]}, "some ids of its photos are numbers and"),
        ({"categories": []}, "names no class"),
        ({"categories": [GOOD["categories"][0]] * 2}, "two of its classes have the id 7"),
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
        ("annotations", "segmentation", {"counts": [-1, 5], "size": [2, 2]}),
        ("annotations", "segmentation", {"counts": [0.5, 3.5], "size": [2, 2]}),
        ("annotations", "segmentation", {"counts": "5", "size": [2, 2]}),
        ("annotations", "segmentation", {"counts": "~~~~", "size": [2, 2]}),
        ("annotations", "segmentation", {"counts": "d", "size": [2, 2]}),
        ("annotations", "segmentation", {"counts": "P" * 20 + "0", "size": [2, 2]}),
        ("annotations", "segmentation", {"counts": "", "size": [2, 2]}),
        ("annotations", "segmentation", [[0, 0, 1e9, 0, 1e9, 1e9]]),
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


def test_photos_of_another_size_than_the_file_says_are_named_and_turned_ones_are_not(tmp_path):
    content = json.loads(json.dumps(GOOD))
    content["images"][0].update(height=6, width=4)
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    found = read_annotations(write(tmp_path, content), 2)
    with pytest.raises(ValueError, match=r"photo 1 is said to be 4 wide and 6 high, and .*a\.png is 6 and 4"):
        found.check_frames(tmp_path)
    turned = Image.new("RGB", (6, 4))
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "a.png", exif=turned.getexif())
    found.check_frames(tmp_path)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert read_annotations(path, 2).class_names == ["a", "b"]


def test_masks_in_run_lengths_are_read_as_pycocotools_does(tmp_path):
    random = np.random.default_rng(0)
    for share in (0.0, 0.001, 0.3, 1.0):
        mask = run_lengths(random.random((90, 333)) < share)
        content = json.loads(json.dumps(GOOD))
        content["annotations"][0]["segmentation"] = mask
        content["images"][0].update(height=90, width=333)
        found = read_annotations(write(tmp_path, content), 2)
        found.check_masks()
        content["images"][0].update(height=333, width=90)
        with pytest.raises(ValueError, match="object 1 has a mask of 90x333 in a photo of 333x90"):
            read_annotations(write(tmp_path, content), 2).check_masks()


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
