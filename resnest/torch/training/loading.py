"""PyTorch's DataLoader: what is read ahead of the training."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from resnest.backends.training import Make


def load(make: Make, keys: Iterable[Any], workers: int, device: str = "cpu") -> Iterator[Any]:
    """What is made of each of the `keys`, in their order, ahead by processes; without `workers` when asked for.

    Arrays come as tensors, ready to be copied to the `device`.
    """
    loader: Any = DataLoader(
        _Made(make),
        sampler=keys,
        batch_size=None,
        collate_fn=_tensors,
        num_workers=workers,
        pin_memory=device.startswith("cuda"),
        worker_init_fn=_started,
    )
    return iter(loader)


class _Made(Dataset):
    """The data set that `make` stands for."""

    def __init__(self, make: Make):
        self.make = make

    def __getitem__(self, key: Any) -> Any:
        return self.make(key, _empty)


def _empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in memory that a worker's parent sees too, so that none is copied; PyTorch's collating has it too."""
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    if get_worker_info() is None:
        return torch.empty(shape, dtype=kind).numpy()
    storage = torch.UntypedStorage._new_shared(prod(shape) * kind.itemsize)
    return torch.empty(0, dtype=kind).set_(storage).view(shape).numpy()


def _tensors(made: Any) -> Any:
    """What was made, with tensors in place of its arrays; those of `_empty` are seen, not copied."""
    if isinstance(made, tuple):
        return tuple(_tensors(part) for part in made)
    if not isinstance(made, np.ndarray):
        return made
    return made.base if isinstance(made.base, torch.Tensor) else torch.from_numpy(made)


def _started(number: int) -> None:
    """Have a worker heed the signals of its parent alone.

    Those for all processes at once ask the parent to save and end, for which it needs its batches.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS does not tell who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_heed, args=(os.getppid(),), daemon=True).start()


def _heed(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
