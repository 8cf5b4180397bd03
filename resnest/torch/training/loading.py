"""PyTorch's DataLoader: what is read ahead of the training."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader


def load(dataset: Any, keys: Iterable[Any], workers: int, device: str = "cpu") -> Iterator[Any]:
    """`dataset[key]` for each of the `keys`, in their order, made ahead by processes; without `workers` when asked for.

    Arrays come as tensors, ready to be copied to the `device`.
    """
    loader: Any = DataLoader(
        dataset,
        sampler=keys,
        batch_size=None,
        num_workers=workers,
        pin_memory=device.startswith("cuda"),
        worker_init_fn=_started,
    )
    return iter(loader)


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
