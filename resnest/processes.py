"""Several processes that share one task, as torchrun starts them; alone there is one, and no PyTorch is needed."""

from __future__ import annotations

import os

import numpy as np


def processes() -> int:
    """How many processes share the task."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def sum_over_processes(array: np.ndarray) -> np.ndarray:
    """The sum of every process's array of whole numbers; all of them wait here for the last one."""
    if processes() == 1:
        return array
    import torch

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    total = torch.from_numpy(array.copy())
    torch.distributed.all_reduce(total)
    return total.numpy()
