"""`torchrun -m resnest train`: its processes share each batch as those of `--processes` do."""

import subprocess
import sys

import pytest

import resnest.weights
from resnest.jobs.train.log import read_log
from tests.support.cli import run
from tests.support.images import photo_folder

WORDS = "recipe=finetune epochs=1 batch=8 size=33 workers=0 dtype=float64 lr=1e-3 lr_batch=8 warmup_epochs=0"
SMALL = "stage_depths=[1,1,1,1] stem_width=8 bottleneck_width=8"


@pytest.mark.torch
def test_torchrun_s_processes_train_as_one_that_accumulates_the_halves(tmp_path):
    data = photo_folder(tmp_path / "data", train=16)
    command = ["train", "resnest14", "--data", str(data), *WORDS.split(), *SMALL.split(), "--output"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "resnest"]
    ran = subprocess.run([*launcher, *command, str(tmp_path / "two")], timeout=300, check=True, capture_output=True)
    assert ran.stdout.count(b"holds the weights and the curve of 2 steps") == 1
    assert run(*command, tmp_path / "one", "accumulate=2").exit_code == 0
    logs = [[row.loss for row in read_log(tmp_path / name / "log.csv")] for name in ("two", "one")]
    assert logs[0] == pytest.approx(logs[1], rel=1e-12)
    ours, theirs = (resnest.weights.load(tmp_path / name / "last.safetensors") for name in ("two", "one"))
    assert max(abs(ours[name] - theirs[name]).max() for name in ours if ".running_" not in name) < 1e-10
