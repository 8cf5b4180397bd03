import weakref

import numpy as np
import pytest

from resnest.jobs.processes import joined, own_device, sum_over_processes


@pytest.mark.parametrize(
    ("world", "device", "own"),
    [
        ("2", "cuda", "cuda:1"),
        ("2", "gpu", "gpu:1"),
        ("2", "cuda:0", "cuda:0"),
        ("2", "cpu", "cpu"),
        ("1", "cuda", "cuda"),
    ],
)
def test_each_process_takes_its_own_gpu_unless_one_is_named(monkeypatch, world, device, own):
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device(device) == own


def test_what_was_summed_is_freed_after_the_processes_have_parted(monkeypatch):
    """PyTorch 2.7 waits for ever where it is the other way round."""
    from torch import distributed

    sent, alive = [], []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "init_process_group", lambda *how, **options: None)
    monkeypatch.setattr(distributed, "barrier", lambda: None)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: sent.append(weakref.ref(tensor)))
    monkeypatch.setattr(
        distributed, "destroy_process_group", lambda: alive.extend(tensor() is not None for tensor in sent)
    )
    with joined():
        sum_over_processes(np.ones(2))
    assert alive == [True]
    assert [tensor() for tensor in sent] == [None]
