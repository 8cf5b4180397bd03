"""Checkpoints are there whole or not at all, and a broken one is gone back before."""

import errno
import logging
import os
import shutil

import numpy as np
import pytest

from resnest.jobs.train.checkpoints import Checkpoint, Checkpoints

STATE = {
    "weights": {"fc.weight": np.arange(6.0).reshape(2, 3), "fc.bias": np.zeros(2, "float32")},
    "velocity": {"fc.weight": np.full((2, 3), 1 / 3)},
}


def checkpoint(step):
    return Checkpoint(step, {**STATE, "scaler": {"scale": np.array([float(step)])}}, {"rate": 0.1 + step / 3})


@pytest.fixture
def folder(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def test_what_is_saved_is_loaded_to_the_bit(folder):
    folder.save(checkpoint(7))
    loaded = folder.latest()
    assert (loaded.step, loaded.facts) == (7, {"rate": 0.1 + 7 / 3})
    assert loaded.state.keys() == {"weights", "velocity", "scaler"}
    for part, arrays in checkpoint(7).state.items():
        for name, array in arrays.items():
            assert loaded.state[part][name].dtype == array.dtype
            assert (loaded.state[part][name] == array).all()


def test_the_last_two_and_the_best_stay(folder):
    for step in range(1, 8):
        folder.save(checkpoint(step), best=3 if step >= 3 else None)
    assert folder.steps() == [3, 6, 7]
    assert sorted(path.name for path in folder.folder.iterdir()) == ["step-00000003", "step-00000006", "step-00000007"]


def test_where_there_is_none_there_is_none(folder):
    assert folder.latest() is None
    assert folder.steps() == []


BREAKAGES = {
    "cut off": lambda path: (path / "velocity.safetensors").write_bytes(b"\x08\0\0\0"),
    "one bit": lambda path: (path / "weights.safetensors").write_bytes(
        (path / "weights.safetensors").read_bytes()[:-1] + b"\x7f"
    ),
    "a file gone": lambda path: (path / "scaler.safetensors").unlink(),
    "no facts": lambda path: (path / "run.json").unlink(),
    "half of the facts": lambda path: (path / "run.json").write_text((path / "run.json").read_text()[:40]),
    "facts of nothing": lambda path: (path / "run.json").write_text("[]"),
    "empty": lambda path: (shutil.rmtree(path), path.mkdir()),
}


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_broken_one_is_gone_back_before_and_named(folder, caplog, how):
    folder.save(checkpoint(1))
    folder.save(checkpoint(2))
    BREAKAGES[how](folder.path(2))
    with caplog.at_level(logging.WARNING):
        assert folder.latest().step == 1
    assert f"the checkpoint {folder.path(2)} is broken" in caplog.text
    assert "going back to the one before" in caplog.text
    folder.save(checkpoint(2))  # the run comes to this step again
    assert folder.latest().step == 2
    assert [path.name for path in folder.folder.iterdir() if path.name.startswith(".")] == []


def test_where_all_are_broken_it_says_so(folder):
    folder.save(checkpoint(1))
    BREAKAGES["cut off"](folder.path(1))
    with pytest.raises(ValueError, match=r"every checkpoint in .* is broken"):
        folder.latest()


@pytest.mark.parametrize("calls", range(8))
def test_a_full_disk_leaves_the_one_before_and_says_which(folder, monkeypatch, calls):
    folder.save(checkpoint(1))
    left = iter(range(calls))

    def full(descriptor):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        folder.save(checkpoint(2))
    assert f"the last good one is {folder.path(1)}" in str(caught.value)
    assert [path.name for path in folder.folder.iterdir() if path.name.startswith(".")] == []
    assert folder.latest().step == 1


class Killed(BaseException):
    """As kill -9: nothing is tidied up after it."""


def until_killed(real, moments):
    """`real`, as long as there are moments left."""

    def call(*arguments, **options):
        if next(moments, None) is None:
            raise Killed
        return real(*arguments, **options)

    return call


def test_killed_at_any_moment_of_a_save_the_last_whole_one_is_there(tmp_path, monkeypatch):
    """Every call to the system that changes a name or waits for the disk is a moment to be killed at."""
    moments = [(os, "replace"), (os, "fsync"), (os, "rename"), (os, "mkdir"), (shutil, "rmtree")]
    seen = set()
    for last in range(60):
        folder = Checkpoints(tmp_path / str(last))
        for step in (1, 2):
            folder.save(checkpoint(step))
        moment = iter(range(last))
        with monkeypatch.context() as patch:
            for module, name in moments:
                patch.setattr(module, name, until_killed(getattr(module, name), moment))
            try:
                folder.save(checkpoint(3))
            except Killed:
                pass
            else:
                assert last > 10
                break
        again = Checkpoints(folder.folder)
        seen.add(again.latest().step)
        again.save(checkpoint(4))
        assert again.latest().step == 4
        assert [path.name for path in folder.folder.iterdir() if path.name.startswith(".")] == []
    else:
        raise AssertionError("it was always killed")
    assert seen == {2, 3}
