import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from resnest.data.augment import Augment
from resnest.data.batches import Batches
from resnest.data.samples import Samples, open_split, stacked
from resnest.specs.recipe import get_recipe


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for number in range(10):
        path = root / "train" / f"class{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 30, 3), np.uint8)).save(path)
    return Samples(open_split(root, "train"), Augment(get_recipe("resnest50").augmentation, 16), seed=3)


def digests(samples, workers, start=0):
    """Of every batch of three epochs, as a DataLoader gives them."""
    batches = Batches(len(samples), 4, epochs=3, seed=3, start=start)
    context = "fork" if workers else None
    loader = torch.utils.data.DataLoader(
        samples, batch_sampler=batches, num_workers=workers, collate_fn=stacked, multiprocessing_context=context
    )
    return [hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() for images, labels in loader]


def test_workers_and_restarts_change_no_byte(samples):
    alone = digests(samples, workers=0)
    assert len(set(alone)) == 6
    assert digests(samples, workers=1) == alone
    assert digests(samples, workers=3) == alone
    assert digests(samples, workers=3, start=3) == alone[3:]
    assert digests(samples, workers=0, start=4) == alone[4:]


@pytest.mark.gluon
def test_mxnets_loader_gives_the_same_bytes(samples):
    from resnest.gluon._mxnet import mx

    loader = mx.gluon.data.DataLoader(
        samples, batch_sampler=Batches(len(samples), 4, epochs=3, seed=3), batchify_fn=stacked
    )
    found = [hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() for images, labels in loader]
    assert found == digests(samples, workers=0)


def test_a_sample_is_another_one_in_another_epoch_and_with_another_seed(samples):
    first, label = samples[0, 4]
    assert np.array_equal(first, samples[0, 4][0])
    assert not np.array_equal(first, samples[1, 4][0])
    assert not np.array_equal(first, Samples(samples.source, samples.transform, seed=4)[0, 4][0])
    assert label == samples.source.labels[4]


def test_batches_are_arrays_of_images_and_labels(samples):
    images, labels = stacked([samples[0, 0], samples[0, 9]])
    assert (images.shape, images.dtype, labels.dtype, labels.tolist()) == ((2, 3, 16, 16), np.float32, np.int64, [0, 2])


def test_a_batch_is_its_samples_in_memory_that_is_handed_over(samples):
    memory = []

    def empty(shape, dtype):
        memory.append(np.full(shape, np.nan, dtype))
        return memory[0]

    images, labels = samples.batch([(0, 0), (0, 9), (1, 4)], empty)
    expected_images, expected_labels = stacked([samples[0, 0], samples[0, 9], samples[1, 4]])
    assert images is memory[0]
    assert np.array_equal(images, expected_images)
    assert np.array_equal(labels, expected_labels)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)


def test_a_part_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no folder val with a folder for each class"):
        open_split(tmp_path, "val")
