"""The log is whole, whatever happened to the training before."""

import os

import pytest

from resnest.jobs.train.log import Log, Row, read_log

ROWS = [Row(step, 0, 0.1, 1 / step) for step in range(1, 6)]


@pytest.fixture
def folder(tmp_path):
    log = Log(tmp_path, judged=("top1", "top5", "eval_loss"))
    for row in ROWS:
        log.add(row)
    log.close()
    return tmp_path


def test_what_came_after_the_checkpoint_is_taken_out(folder):
    Log(folder, done=3).close()
    assert read_log(folder / "log.csv") == ROWS[:3]
    Log(folder).close()
    assert read_log(folder / "log.csv") == []


class Killed(BaseException):
    """As kill -9: nothing is tidied up after it."""


def test_killed_while_the_log_is_taken_up_again_no_row_is_lost(folder, monkeypatch):
    def killed(*paths):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            Log(folder, done=3)
    assert read_log(folder / "log.csv") == ROWS
    log = Log(folder, done=4)
    log.add(ROWS[4])
    log.close()
    assert read_log(folder / "log.csv") == ROWS


def test_a_row_that_was_cut_off_is_none(folder):
    path = folder / "log.csv"
    for cut in (2, 5, 8):
        path.write_bytes(path.read_bytes()[:-cut])
        assert read_log(path) == ROWS[:4]


@pytest.mark.torch
def test_tensorboard_gets_every_number(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Log(folder, tensorboard=True)
    log.add(Row(1, 0, 0.1, 2.5, judged={"top1": 50.0}))
    log.close()
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]} == {
        "lr": pytest.approx(0.1),
        "loss": 2.5,
        "top1": 50.0,
    }
