"""Several processes that train one network: what they add up."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import distributed

LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "DistBackendError")
"""What the errors say that a process gets when another one is gone."""


class Processes:
    """Those that `torchrun` or `resnest.jobs.train.launch` started, made known to each other; alone, this one."""

    def __init__(self, device: torch.device):
        self.device = device
        self.number = int(os.environ.get("WORLD_SIZE", "1"))
        # PyTorch 2.7 waits for ever where it frees the last of these while the processes part.
        self.sent: deque[torch.Tensor] = deque(maxlen=64)
        if self.number > 1 and not distributed.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
            atexit.register(distributed.destroy_process_group)

    def wrap(self, model: Any) -> Any:
        """The model, whose gradients a backward pass replaces by their mean over the processes."""
        if self.number == 1:
            return model
        # Each process has its own running statistics, whose mean is taken where somebody looks: see `mean`.
        devices = [self.device] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of every process's float64 `numbers`."""
        if self.number == 1:
            return numbers
        tensor = torch.tensor(numbers, dtype=torch.float64)  # on the CPU, where gloo does not wait for the GPU's work
        self.sent.append(tensor)
        with self.watched():
            distributed.all_reduce(tensor)
        return tensor.numpy()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, an error that another process's end has caused becomes a ConnectionError that says so."""
        try:
            yield
        except RuntimeError as error:
            if self.number == 1 or not any(word in str(error) for word in LOST):
                raise
            raise ConnectionError("another process of this training is gone: go on with --resume") from error


def environments(number: int, port: int) -> list[dict[str, str]]:
    """The variables that make each of `number` processes on this machine one of a training."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(number)}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
