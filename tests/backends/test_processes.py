"""Two processes that share each batch train as one that takes the halves one after the other."""

import sys

import numpy as np
import pytest

import resnest.weights
from resnest.jobs.train.log import read_log
from tests.support.cli import run
from tests.support.images import photo_folder

RECIPE = "recipe=finetune epochs=1 lr=1e-3 warmup_epochs=0 lr_batch=8 batch=8 weight_decay=0.01"
WORDS = f"{RECIPE} size=33 workers=0 dtype=float64"
SMALL = "stage_depths=[1,1,1,1] stem_width=8 bottleneck_width=8"


@pytest.fixture
def train(tmp_path, backend, monkeypatch):
    data = photo_folder(tmp_path / "data", train=16)

    def call(output, *words):
        options = ["--data", data, "--output", tmp_path / output, "--backend", backend.name]
        command = ["train", "resnest14", *options, *WORDS.split(), *SMALL.split(), *words]
        monkeypatch.setattr(sys, "argv", ["resnest", *map(str, command)])  # which the processes get
        assert run(*command).exit_code == 0
        weights = resnest.weights.load(tmp_path / output / "last.safetensors")
        return weights, [row.loss for row in read_log(tmp_path / output / "log.csv")]

    return call


def test_two_processes_train_as_one_that_accumulates_the_halves(train):
    (ours, losses), (theirs, others) = (
        train("two", "--processes", "2"),
        train("one", "accumulate=2"),
    )
    assert len(losses) == 2
    assert np.abs(np.array(losses) - others).max() < 1e-10
    assert ours["conv1.0.weight"].dtype == np.float64
    apart = {name: np.abs(ours[name] - theirs[name]).max() for name in ours if ".running_" not in name}
    assert {name: far for name, far in apart.items() if far > 1e-10} == {}
