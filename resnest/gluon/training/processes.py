"""Several processes that train one network: what they add up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from resnest.gluon._mxnet import mx

ROLE = "DMLC_ROLE"
"""In this variable MXNet's key-value store finds what this process is: a worker, a server or the scheduler."""


class Processes:
    """The workers of MXNet's key-value store, where this process was started as one; alone, this one.

    The optimizer is not on the servers (`update_on_kvstore` of Gluon's Trainer): there it would know neither decays nor
    learning rates of single tensors.
    """

    def __init__(self) -> None:
        self.store: Any = mx.kv.create("dist_sync") if os.environ.get(ROLE) == "worker" else None
        asked = int(os.environ.get("WORLD_SIZE", "1"))
        if asked > 1 and self.store is None:
            raise ValueError(
                f"torchrun's {asked} processes do not find each other in MXNet: resnest train --backend gluon"
                f" --processes {asked} starts some that do"
            )
        self.number = self.store.num_workers if self.store is not None else 1
        self.buffers: dict[str, Any] = {}

    def average(self, gradients: Sequence[Any]) -> None:
        """Replace each of the arrays by its mean over the processes."""
        if self.store is None:
            return
        for number, array in enumerate(gradients):
            if array.dtype == np.float64:
                array[:] = mx.nd.array(self._exact_sum(f"gradient{number}", array.asnumpy()), dtype="float64")
            else:
                self._sum(f"gradient{number}", array, priority=-number)
        for array in gradients:
            array *= 1 / self.number

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of every process's float64 `numbers`."""
        return numbers if self.store is None else self._exact_sum(f"{len(numbers)} numbers", numbers)

    def _sum(self, key: str, array: Any, priority: int = 0) -> None:
        """Replace the float32 array by its sum over the processes."""
        if key not in self.buffers:
            self.buffers[key] = array
            self.store.init(key, mx.nd.zeros_like(array))
            self.store._barrier()  # or the first pull could come before the zeros
        self.store.push(key, array, priority=priority)
        self.store.pull(key, out=array, priority=priority)

    def _exact_sum(self, key: str, array: np.ndarray) -> np.ndarray:
        """The float64 sum of every process's array. The store rounds whatever it adds to float32.

        So each process has a row of its own in what is added, and in it three float32 that make up a float64.
        """
        parts = np.zeros((self.number, 3, array.size), np.float32)
        rest = array.astype(np.float64).ravel()
        for part in parts[self.store.rank]:
            part[:] = rest
            rest -= part
        if key in self.buffers:
            self.buffers[key][:] = parts
        buffer = self.buffers.get(key, mx.nd.array(parts))
        self._sum(key, buffer)
        return buffer.asnumpy().astype(np.float64).sum(1).sum(0).reshape(array.shape)


def environments(number: int, port: int) -> list[dict[str, str]]:
    """The variables that make each of `number` processes on this machine one of a training, and two that serve them."""
    shared = {"DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": str(port), "DMLC_NODE_HOST": "127.0.0.1"}
    shared |= {"DMLC_NUM_WORKER": str(number), "DMLC_NUM_SERVER": "1"}
    ranks = [{"WORLD_SIZE": str(number), "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
    roles = [{**rank, ROLE: "worker"} for rank in ranks] + [{ROLE: "scheduler"}, {ROLE: "server"}]
    return [{**shared, **role} for role in roles]
