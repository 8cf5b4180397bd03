"""Several processes that share one task, as torchrun starts them; alone there is one, and no PyTorch is needed."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np

_SENT: list[Any] = []
"""Tensors of sums, kept until the processes part: PyTorch 2.7 waits for ever where the last of one is freed then."""


def processes() -> int:
    """How many processes share the task."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def own_device(device: str) -> str:
    """The device of this process: "cuda" is, under torchrun, another GPU of the machine for each of its processes.

    So is "gpu", as MXNet calls it.
    """
    shared = device in ("cuda", "gpu") and processes() > 1
    return f"{device}:{os.environ.get('LOCAL_RANK', '0')}" if shared else device


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes know of each other; one that ends without saying so takes others down with it."""
    if processes() == 1:
        yield
        return
    import torch

    # The default of half an hour is less than a slow process may need for its share of a data set.
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=1))
    try:
        yield
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()
        _SENT.clear()


def sum_over_processes(array: np.ndarray) -> np.ndarray:
    """The sum of every joined process's array of whole numbers; all of them wait here for the last one."""
    if processes() == 1:
        return array
    import torch

    total = torch.from_numpy(array.copy())
    _SENT.append(total)
    torch.distributed.all_reduce(total)
    return total.numpy()


def gathered(rows: list[Any]) -> list[Any]:
    """The rows of every joined process, in each of them; all of them wait here for the last one."""
    if processes() == 1:
        return rows
    own = np.frombuffer(pickle.dumps(rows), np.uint8)
    sizes = np.zeros(processes(), np.int64)
    sizes[process()] = own.size
    ends = np.cumsum(sum_over_processes(sizes))
    together = np.zeros(ends[-1], np.uint8)
    together[ends[process()] - own.size : ends[process()]] = own
    shares = np.split(sum_over_processes(together), ends[:-1])
    return [row for share in shares for row in pickle.loads(share.tobytes())]
