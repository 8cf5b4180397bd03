"""What a detector is trained on: which photos, of which size, and the same ones whoever reads them."""

import logging
from functools import partial

import numpy as np
import pytest

from resnest.backends import training
from resnest.data.batches import Batches
from resnest.jobs.train.detection import open_data
from resnest.jobs.train.scenes import Scenes
from resnest.specs.detection.recipe import DetectionRecipe
from tests.support.scenes import change_annotations, coco_folder
from tests.support.specs import tiny_detector

pytestmark = pytest.mark.torch

RECIPE = DetectionRecipe(epochs=2, batch=2, long_side=96, short_sides=(32, 64), short_step=32)


@pytest.fixture
def folder(tmp_path):
    return coco_folder(tmp_path / "data", train=7, val=3)


def scenes(folder, workers=0, seed=3, **changes):
    load = partial(training.loading("torch").load, workers=workers)
    return Scenes(open_data(folder), tiny_detector("mask_rcnn"), RECIPE.with_changes(**changes), seed, load)


def keys(source, **changes):
    return Batches(source.training, 2, 2, seed=3, grouping=source.grouping, **changes)


def numbers_of(batches):
    return [
        (np.asarray(images).tobytes(), np.asarray(sizes).tolist(), [truth["boxes"].tolist() for truth in truths])
        for images, (sizes, truths) in batches
    ]


def test_any_number_of_workers_from_any_start_gives_the_same(folder):
    alone = numbers_of(scenes(folder).batches(keys(scenes(folder))))
    assert len({numbers for numbers, *_ in alone}) == 6
    ahead = scenes(folder, workers=2)
    assert numbers_of(ahead.batches(keys(ahead, start=2))) == alone[2:]
    assert numbers_of(scenes(folder, seed=4).batches(keys(ahead))) != alone


def test_photos_come_in_the_recipe_s_sizes_wide_ones_apart_from_high_ones(folder):
    source = scenes(folder)
    found = [batch for batch, _ in zip(source.batches(keys(source)), range(3))]
    sizes = [tuple(size) for _, (sizes, _) in found for size in sizes.tolist()]
    assert {*sizes} <= {(32, 48), (64, 96), (43, 32), (85, 64)}
    assert len({*sizes}) > 1
    for images, (sizes, _) in found[:2]:  # the last one may have what is left of both
        assert len({high > wide for high, wide in sizes.tolist()}) == 1
        assert images.shape[2] % 32 == images.shape[3] % 32 == 0
        for image, (height, width) in zip(images, sizes.tolist()):
            assert not image[:, height:].any()
            assert not image[:, :, width:].any()


def test_a_mirrored_photo_has_its_boxes_mirrored(folder):
    same = {"short_sides": (64, 64)}
    (plain, (sizes, (truth, _))), (turned, (_, (mirrored, _))) = (
        next(scenes(folder, flip=flip, **same).batches(keys(scenes(folder, **same)))) for flip in (0.0, 1.0)
    )
    height, width = sizes[0].tolist()
    assert (plain[0, :, :height, :width].flip(-1) == turned[0, :, :height, :width]).all()
    x1, x2 = truth["boxes"][:, 0], truth["boxes"][:, 2]
    assert np.array_equal(mirrored["boxes"][:, [2, 0]], width - np.stack([x1, x2], 1))


def without_objects(content):
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] != 11]


def all_crowds(content):
    for row in content["annotations"]:
        if row["image_id"] == 11:
            row["iscrowd"] = 1


def small(content):
    content["images"][2]["height"] = 20


def test_photos_without_annotations_are_left_out_unless_they_are_asked_for(folder, caplog):
    change_annotations(folder, without_objects)
    with caplog.at_level(logging.WARNING):
        assert scenes(folder).training == 6
    assert "1 of 7 photos are left out" in caplog.text
    source = scenes(folder, filter_empty=False)
    assert source.training == 7
    truths = [truth for _, (_, found) in source.batches(keys(source)) for truth in found]
    assert any(not len(truth["boxes"]) for truth in truths)


def test_photos_with_crowds_alone_stay_and_teach_the_background(folder, caplog):
    change_annotations(folder, all_crowds)
    with caplog.at_level(logging.WARNING):
        source = scenes(folder)
    assert source.training == 7
    assert "2 objects are not learnt from: crowds" in caplog.text
    truths = [truth for _, (_, found) in source.batches(keys(source)) for truth in found]
    assert any(not len(truth["boxes"]) for truth in truths)


def test_small_photos_are_left_out(folder):
    change_annotations(folder, small)
    assert scenes(folder).training == 6


def test_sizes_that_the_file_does_not_have_are_the_photos_own(folder):
    whole = scenes(folder).grouping.kinds.tolist()
    change_annotations(folder, lambda content: [image.pop("height") for image in content["images"]])
    assert scenes(folder).grouping.kinds.tolist() == whole


def test_a_photo_that_cannot_be_read_is_named(folder):
    path = folder / "train2017" / "000000000010.png"
    path.write_bytes(path.read_bytes()[:100])
    source = scenes(folder)
    with pytest.raises(ValueError, match=r"000000000010\.png is no photo that can be read"):
        list(source.batches(keys(source)))


def test_nothing_to_train_on_is_said(folder):
    change_annotations(folder, lambda content: content["annotations"].clear())
    with pytest.raises(ValueError, match="has no photo to train on: all of its 7 have no objects or a side below 32"):
        scenes(folder)


def test_a_photo_to_evaluate_on_that_cannot_be_read_is_told_apart(folder):
    path = folder / "val2017" / "000000000011.png"
    path.write_bytes(path.read_bytes()[:100])
    source = scenes(folder)
    found = list(source.evaluated([np.array([0]), np.array([1])]))
    assert [(batch is None, number) for batch, number, _ in found] == [(False, 10), (True, 11)]
    assert "000000000011.png is no photo that can be read" in found[1][2][1]
    assert source.name(1) == "000000000011.png"
