"""A training in every backend: it ends where an undisturbed one ends, whatever happens to it on the way."""

import errno
import logging
import os

import numpy as np
import pytest

import resnest
from resnest.jobs.train import classification
from resnest.jobs.train.config import Config, Run
from resnest.jobs.train.log import read_log
from resnest.jobs.train.run import Diverged, Training, key_of
from resnest.jobs.train.source import Arrays
from resnest.specs.recipe import DropBlockRecipe, Recipe
from resnest.weights.seeded import first_weights
from tests.support.specs import tiny

SPEC = tiny(stage_depths=(1, 1, 1, 1), bottleneck_width=4, num_classes=3)


def pictures(count, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    return random.normal(size=(count, 3, 33, 33)).astype("float32") + labels[:, None, None, None], labels


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test here cuts the power: nobody waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def train(backend, tmp_path):
    """Makes a training of two epochs with three steps each."""

    def make(folder="out", run=None, data=13, **changes):
        fields = {"epochs": 2, "batch": 4, "size": 33, "eval_size": 33, "lr": 0.05, "lr_batch": None, "ema_decay": 0.9}
        recipe = Recipe(**{**fields, "final_drop": 0.2, "nesterov": True, "label_smoothing": 0.1} | changes)
        config = Config(SPEC, recipe, Run(**{"save_every": 2} | (run or {})))
        source = Arrays(pictures(data, 0), pictures(5, 1), 3, recipe)
        return Training(config, source, tmp_path / folder, backend.name, first_weights(SPEC, last_gamma=True))

    return make


def after(training, resume=False):
    """The whole state at the end of the training, flat."""
    training.run(resume)
    state = training.checkpoints.latest().state
    return {(part, name): array for part, arrays in state.items() for name, array in arrays.items()}


@pytest.fixture(scope="module")
def undisturbed():
    """Backend -> the state at the end of a training that nothing happened to, and its log."""
    return {}


@pytest.fixture
def whole(backend, train, undisturbed):
    if backend.name not in undisturbed:
        training = train("whole")
        undisturbed[backend.name] = after(training), read_log(training.output / "log.csv")
    return undisturbed[backend.name]


def same(a, b):
    assert a.keys() == b.keys()
    return [name for name in a if (a[name] != b[name]).any()] == []


def test_a_training_leaves_its_log_its_curve_its_best_weights_and_its_checkpoints(train):
    training = train()
    moments = []
    training.listener = moments.append
    last = training.run()
    rows = read_log(training.output / "log.csv")
    assert rows[-1] == last
    assert [row.step for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.epoch for row in rows] == [0, 0, 0, 1, 1, 1]
    assert [bool(row.judged) for row in rows] == [False, False, True, False, False, True]
    assert [row.lr for row in rows] == [training.config.recipe.learning_rate(step, 3) for step in range(6)]
    assert (training.output / "curve.png").stat().st_size > 1000
    assert {6, 4} <= set(training.checkpoints.steps()) <= {3, 4, 6}
    assert [moment.row for moment in moments] == rows
    best = resnest.weights.load(training.output / "best.safetensors")
    assert best.keys() == SPEC.tensors().keys()


def test_the_first_weights_do_not_stay_beside_the_trainer_s_own(train):
    training = train()
    held = []
    training.listener = lambda moment: held.append(len(training.weights))
    training.run()
    assert {*held} == {0}


def test_a_training_that_is_stopped_ends_where_an_undisturbed_one_does(train, whole):
    for stop in (1, 3, 5):
        training = train("stopped")
        training.stopped = lambda training=training, stop=stop: training.progress.step >= stop
        assert training.run(resume=True) is None
        assert training.checkpoints.steps()[-1] == stop
    assert same(after(train("stopped"), resume=True), whole[0])
    assert read_log(train("stopped").output / "log.csv") == whole[1]


class Killed(BaseException):
    """As kill -9: nothing is tidied up after it."""


@pytest.mark.parametrize("moment", [0, 22])
def test_a_training_that_is_killed_in_a_save_ends_where_an_undisturbed_one_does(train, whole, monkeypatch, moment):
    left = iter(range(moment))

    def until_killed(descriptor):
        if next(left, None) is None:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", until_killed)
        with pytest.raises(Killed):
            train("killed").run()
    assert same(after(train("killed"), resume=True), whole[0])


def test_a_broken_last_checkpoint_costs_the_steps_since_the_one_before(train, whole, caplog):
    train().run()
    (train().checkpoints.path(6) / "weights.safetensors").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert same(after(train(), resume=True), whole[0])
    assert "is broken" in caplog.text
    assert len(read_log(train().output / "log.csv")) == 6


def test_a_full_disk_is_said_and_the_training_goes_on(train, whole, monkeypatch, caplog):
    training = train("full")
    save = training.checkpoints.save

    def full(checkpoint, best):
        if checkpoint.step < 6:
            raise OSError(errno.ENOSPC, "the checkpoint could not be written: No space left on device")
        return save(checkpoint, best)

    monkeypatch.setattr(training.checkpoints, "save", full)
    with caplog.at_level(logging.WARNING):
        assert same(after(training), whole[0])
    assert caplog.text.count("No space left on device; the training goes on") == 3


def test_the_first_loss_that_is_no_number_ends_it_and_says_where(train):
    training = train(run={"save_every": 1}, lr=1e25, ema_decay=0.0)
    with pytest.raises(Diverged, match=r"the loss is nan at step 2 \(epoch 0, learning rate .*step-00000001:"):
        training.run()
    good = training.checkpoints.latest()
    assert good.step == 1
    assert all(np.isfinite(array).all() for array in good.state["weights"].values())


def test_accumulated_parts_make_one_step(train):
    whole = train("whole", final_drop=0.0, ema_decay=0.0, batch=4)
    cut = train("cut", {"accumulate": 2}, final_drop=0.0, ema_decay=0.0)
    assert [len(batches) for batches in [next(cut.batches())]] == [2]
    ((images, targets),) = next(whole.batches())
    parts = next(cut.batches())
    assert (np.concatenate([part[0] for part in parts]) == images).all()
    assert (np.concatenate([part[1] for part in parts]) == targets).all()
    cut.run()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch": 3, "run": {"accumulate": 2}}, "batch=3 cannot be dealt out to 1 processes in 2 parts"),
        ({"batch": 2, "run": {"accumulate": 2}}, "leaves one image each"),
        ({"batch": 14}, "batch=14 is more than the 13 images"),
        ({"batch": 4, "drop_last": False}, "leaves a last batch of one of the 13 images"),
        (
            {"batch": 4, "drop_last": False, "data": 14, "run": {"accumulate": 2}},
            "leaves a batch that cannot be dealt out evenly",
        ),
    ],
    ids=str,
)
def test_batches_that_no_norm_can_learn_from_are_one_sentence(train, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        train(**changes)


def test_another_data_set_is_not_gone_on_with(train):
    train().run()
    with pytest.raises(ValueError, match="written in a training on the images 13, and here are 12"):
        train(data=12).run(resume=True)


def test_what_is_drawn_in_a_step_is_another_in_every_step_process_and_seed():
    keys = {key_of(seed, step, process) for seed in (0, 1) for step in range(5) for process in range(2)}
    assert len(keys) == 20
    assert all(0 <= key < 2**31 for key in keys)


def test_a_recipe_s_dropblock_is_the_network_s(train, backend):
    training = train(dropblock=DropBlockRecipe(0.3, place="after", mask="batch"))
    trainer = training.open()
    blocks = backend.module.DropBlockScheduler(trainer.model.layer4, 1).blocks
    assert [block.mask for block in blocks] == ["batch"] * 3
    assert isinstance(trainer.model.layer3[0].dropblock2, backend.module.DropBlock)


def test_evaluation_sees_every_image_once(train, monkeypatch):
    training = train()
    trainer = training.open()
    whole = classification.evaluate(trainer, training.source, training.config)
    images, labels = training.source.held_out
    logits = trainer.predict(images, averaged=True)
    assert whole["top1"] == 100 * (logits.argmax(1) == labels).mean()
    assert whole["top5"] == 100
    sums = []
    monkeypatch.setattr(trainer, "total", lambda numbers: sums.append(numbers) or numbers)
    monkeypatch.setattr(classification, "processes", lambda: 2)
    for number in (0, 1):
        monkeypatch.setattr(classification, "process", lambda number=number: number)
        classification.evaluate(trainer, training.source, training.config)
    assert sum(sums)[3] == 5
    assert 100 * sum(sums)[0] / 5 == whole["top1"]
