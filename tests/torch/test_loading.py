"""What PyTorch's DataLoader reads ahead, and what becomes of its workers."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from resnest.cli.terminal import sentence
from resnest.torch.training.loading import load

WORKERS = """
import os, signal, subprocess
from resnest.cli.terminal import sentence
from resnest.torch.training.loading import load

def make(key, empty):
    return key, os.getpid()

batches = load(make, range(1000), 1)
_, worker = next(batches)
os.kill(worker, signal.SIGINT)
subprocess.run(["kill", str(worker)], check=True)  # not the parent
assert [next(batches)[0] for _ in range(20)] == list(range(1, 21))
print(worker)
raise ValueError("the training ends with batches under way")
"""


def test_a_worker_heeds_no_signal_but_its_parent_s():
    ran = subprocess.run([sys.executable, "-c", WORKERS], capture_output=True, text=True, timeout=300, check=False)
    assert "the training ends with batches under way" in ran.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(ran.stdout), 0)


def memory(key, empty):
    array = empty((3, 2), np.float32)
    array[:] = key
    return array, array.base.is_shared(), np.full(2, key)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_makes_in_the_loader_s_memory_is_not_copied(workers):
    found = list(load(memory, range(3), workers))
    assert [bool(shared) for _, shared, _ in found] == [workers > 0] * 3
    for key, (array, _, other) in enumerate(found):
        assert isinstance(array, torch.Tensor)
        assert array.tolist() == [[key, key]] * 3
        assert (array.dtype, other.tolist()) == (torch.float32, [key, key])


def test_a_worker_that_the_system_ends_is_the_machine_s_fault_in_one_sentence():
    def make(key, empty):
        if key == 2:
            os.kill(os.getpid(), signal.SIGBUS)  # what a worker gets where shared memory is full
        return key

    with pytest.raises(RuntimeError, match="DataLoader worker") as caught:
        list(load(make, range(9), 1))
    said = sentence(caught.value)
    assert said.exit_code == 2
    assert said.message.startswith("a process that reads images was ended by the system: give more shared memory")
