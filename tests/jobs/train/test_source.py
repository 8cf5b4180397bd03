"""What is read ahead is the same whoever reads it, and what cannot be read is one sentence."""

from functools import partial

import numpy as np
import pytest

from resnest.backends import training
from resnest.data.batches import Batches
from resnest.data.samples import open_split
from resnest.jobs.train.source import Photos
from resnest.specs.recipe import get_recipe
from tests.support.images import photo_folder

RECIPE = get_recipe("resnest50").with_changes(
    size=24, eval_size=24, batch=4, epochs=2, warmup_epochs=0, mixup_off_epochs=1
)


@pytest.fixture
def folder(tmp_path):
    return photo_folder(tmp_path, train=13, val=5)


def photos(folder, backend, workers=0, classes=3, seed=3):
    load = partial(training.loading(backend).load, workers=workers)
    return Photos(open_split(folder, "train"), open_split(folder, "val"), classes, RECIPE, seed, load)


def bytes_of(stream):
    return [tuple(np.asarray(array).tobytes() for array in batch[:2]) for batch in stream]


@pytest.mark.torch
@pytest.mark.gluon
def test_any_loader_with_any_workers_from_any_start_gives_the_same_bytes(folder):
    alone = bytes_of(photos(folder, "torch").batches(Batches(13, 4, 2, seed=3)))
    assert len(set(alone)) == 6
    assert bytes_of(photos(folder, "torch", workers=2).batches(Batches(13, 4, 2, seed=3, start=2))) == alone[2:]
    assert bytes_of(photos(folder, "gluon", workers=2).batches(Batches(13, 4, 2, seed=3))) == alone
    assert bytes_of(photos(folder, "gluon").batches(Batches(13, 4, 2, seed=4))) != alone


def test_batches_are_mixed_until_the_recipe_says_no_more(folder, backend):
    targets = [np.asarray(pair[1]) for pair in photos(folder, backend.name).batches(Batches(13, 4, 2))]
    assert [one.shape for one in targets] == [(4, 3)] * 6
    assert all(np.allclose(one.sum(1), 1) for one in targets)
    assert [bool(np.isclose(one.max(1), 0.9 + 0.1 / 3).all()) for one in targets[3:]] == [True] * 3
    assert not all(np.isclose(one.max(1), 0.9 + 0.1 / 3).all() for one in targets[:3])


@pytest.mark.torch
def test_accumulated_parts_of_a_step_share_what_is_drawn_for_it(folder):
    source = photos(folder, "torch")
    whole = next(source.batches(Batches(13, 4, 2)))
    parts = list(source.batches(Batches(13, 4, 2, parts=2)))[:2]
    shares = [np.sort(np.asarray(targets).max(1)) for _, targets in (whole, *parts)]
    assert np.allclose(np.unique(np.concatenate(shares[1:]).round(6)).max(), shares[0].max(), atol=1e-6)


def test_evaluation_sees_each_image_once_and_draws_nothing(folder, backend):
    source = photos(folder, backend.name, workers=1)
    twice = [bytes_of(source.evaluated([np.arange(3), np.arange(3, 5)])) for _ in range(2)]
    assert twice[0] == twice[1]
    labels = np.concatenate([np.asarray(labels) for _, labels, _ in source.evaluated([np.arange(3), np.arange(3, 5)])])
    assert labels.tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(folder, backend, workers):
    path = folder / "train" / "class1" / "4.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"class1/4\.png is no photo that can be read") as caught:
        list(photos(folder, backend.name, workers).batches(Batches(13, 4, 2)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_evaluation_image_that_cannot_be_read_is_left_out_and_named(folder, backend, workers):
    whole = bytes_of(photos(folder, backend.name, workers).evaluated([np.arange(2), np.arange(3, 5)]))
    path = folder / "val" / "class1" / "1.png"  # the third of five
    path.write_bytes(path.read_bytes()[:100])
    source = photos(folder, backend.name, workers)
    first, second = source.evaluated([np.arange(3), np.arange(3, 5)])
    assert bytes_of([first, second]) == whole
    assert list(first[2]) == [2]
    assert first[2][2].startswith(f"{path} is no photo that can be read")
    assert source.name(2) == str(path)
    ((images, labels, unreadable),) = source.evaluated([np.array([2])])
    assert (len(images), len(labels), list(unreadable)) == (0, 0, [2])


@pytest.mark.torch
def test_a_label_that_is_no_class_is_named(folder):
    with pytest.raises(ValueError, match=r"class2/\d+\.png has the label 2, and num_classes=2"):
        list(photos(folder, "torch", classes=2).batches(Batches(13, 4, 2)))
    with pytest.raises(ValueError, match=r"class2/2\.png has the label 2, and num_classes=2"):
        list(photos(folder, "torch", classes=2).evaluated([np.arange(5)]))
