import os
import subprocess
import sys

import numpy as np
import pytest

from resnest.backends import training
from resnest.backends.training import Setup, smoothed
from resnest.gluon._mxnet import NOTE, without_notes
from resnest.specs.update import UpdateRule
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny

COPY = """
import os
import resnest.gluon, mxnet as mx
mx.nd.zeros(2).asnumpy()
before = len(os.listdir("/proc/self/task"))
mx.nd.array(mx.nd.zeros(2**20).asnumpy()).asnumpy()
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.gluon
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's threads from /proc")
def test_copying_weights_leaves_mxnet_no_threads_that_slow_it_down():
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", COPY], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "0"


def test_notes_that_tell_nothing_are_left_out_and_all_else_is_printed(capfd):
    with without_notes():
        os.write(2, b"[12:00:00] ../src/operator/nn/mkldnn/mkldnn_pooling.cc:58: " + NOTE + b"\nanother word\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "another word\nafter\n"


def test_a_training_prints_nothing(capfd):
    spec = tiny(stage_depths=(1, 1, 1, 1))
    trainer = training.load("gluon").open_trainer(spec, draw_weights(spec), UpdateRule(), Setup())
    images = np.random.default_rng(0).normal(size=(2, 3, 37, 41)).astype("float32")  # of a size that no test had before
    trainer.value(trainer.step([(images, smoothed(np.array([0, 1]), 5))], 0.1, 0))
    assert capfd.readouterr().err == ""
