"""What PyTorch's DataLoader reads ahead, and what becomes of its workers."""

import os
import subprocess
import sys

import pytest

WORKERS = """
import os, signal, subprocess
from resnest.torch.training.loading import load

class Numbers:
    def __getitem__(self, key):
        return key, os.getpid()

batches = load(Numbers(), range(1000), 1)
_, worker = next(batches)
os.kill(worker, signal.SIGINT)
subprocess.run(["kill", str(worker)], check=True)  # not the parent
assert [next(batches)[0] for _ in range(20)] == list(range(1, 21))
print(worker)
raise ValueError("the training ends with batches under way")
"""


def test_a_worker_heeds_no_signal_but_its_parent_s():
    ran = subprocess.run([sys.executable, "-c", WORKERS], capture_output=True, text=True, timeout=60, check=False)
    assert "the training ends with batches under way" in ran.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(ran.stdout), 0)
