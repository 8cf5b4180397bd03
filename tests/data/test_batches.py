import numpy as np
import pytest

from resnest.data.batches import Batches, Grouping, grouped, mixed
from resnest.data.draws import order


def test_every_epoch_sees_every_image_but_those_of_the_smaller_batch():
    batches = list(Batches(images=10, batch=4, epochs=3))
    assert [len(batch) for batch in batches] == [4] * 6
    for epoch in range(3):
        keys = [key for batch in batches[2 * epoch : 2 * epoch + 2] for key in batch]
        assert {key[0] for key in keys} == {epoch}
        assert len({index for _, index in keys} & set(range(10))) == 8
    assert [len(batch) for batch in Batches(10, 4, epochs=1, drop_last=False)] == [4, 4, 2]


@pytest.mark.parametrize("start", [0, 1, 2, 3, 5, 6])
def test_one_that_starts_in_the_middle_gives_what_is_left(start):
    whole = list(Batches(10, 4, epochs=3, seed=7))
    rest = Batches(10, 4, epochs=3, seed=7, start=start)
    assert list(rest) == whole[start:]
    assert len(rest) == len(whole) - start


def test_processes_and_parts_share_each_batch_in_its_order():
    whole = list(Batches(21, 8, epochs=2))
    shared = [list(Batches(21, 8, epochs=2, process=process, processes=2, parts=2)) for process in (0, 1)]
    assert len(shared[0]) == 2 * len(whole) == len(Batches(21, 8, epochs=2, processes=2, parts=2))
    for step, batch in enumerate(whole):
        assert [key for own in shared for part in own[2 * step : 2 * step + 2] for key in part] == batch


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch": 11}, "batch=11 is more than the 10 images"),
        (
            {"batch": 4, "processes": 3},
            "batch=4 cannot be dealt out to 3 processes in 1 parts each: give a multiple of",
        ),
        ({"batch": 4, "processes": 2, "drop_last": False}, "drop_last=False leaves a batch"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Batches(images=10, epochs=1, **changes)


def test_a_batch_is_mixed_with_itself_from_the_other_end():
    images, targets = np.arange(24.0).reshape(4, 2, 3), np.eye(4)
    new_images, new_targets = mixed(images.copy(), targets.copy(), 0.2, seed=0, step=3)
    share = new_targets[0, 0]
    assert 0 < share < 1
    assert np.array_equal(new_images, share * images + (1 - share) * images[::-1])
    assert np.array_equal(new_targets, share * targets + (1 - share) * targets[::-1])
    assert mixed(images, targets, 0.0, 0, 3)[0] is images


def test_the_one_in_the_middle_stays_and_arrays_are_mixed_in_place():
    images, targets = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32), np.eye(5, dtype=np.float32)
    new_images, new_targets = images.copy(), targets.copy()
    assert mixed(new_images, new_targets, 0.2, seed=0, step=3)[0] is new_images
    share = new_targets[0, 0]
    assert np.allclose(new_images, share * images + (1 - share) * images[::-1], rtol=1e-6)
    assert np.allclose(new_images[2], images[2], rtol=1e-6)


def test_each_step_draws_a_share_of_its_own():
    def share(step):
        return mixed(np.eye(2), np.eye(2), 0.2, seed=0, step=step)[1][0, 0]

    shares = [share(step) for step in range(2000)]
    assert len(set(shares)) > 1000
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    assert np.var(shares) == pytest.approx(1 / (4 * 1.4), abs=0.02)  # that of Beta(0.2, 0.2)


def test_images_of_a_kind_come_together_and_none_twice():
    kinds = np.array([0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0])
    grouping = Grouping(kinds, 2)
    for seed in range(5):
        images = order(seed, 0, 11)
        found = grouped(images, grouping)
        assert sorted(found) == list(range(11))
        assert all(kinds[a] == kinds[b] for a, b in found[:10].reshape(-1, 2))
        own = [image for image in found if kinds[image] == 0]
        assert own == [image for image in images if kinds[image] == 0]
    whole = list(Batches(11, 4, epochs=2, grouping=grouping))
    assert whole != list(Batches(11, 4, epochs=2))
    assert list(Batches(11, 4, epochs=2, grouping=grouping, start=3)) == whole[3:]
