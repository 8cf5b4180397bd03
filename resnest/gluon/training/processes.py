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
        self.number = self.store.num_workers if self.store is not None else 1
        self.keys: dict[tuple[str, tuple[int, ...], str], str] = {}

    def average(self, gradients: Sequence[Any]) -> None:
        """Replace each of the arrays by its mean over the processes."""
        if self.store is None:
            return
        keys = [self._key(f"gradient{number}", array) for number, array in enumerate(gradients)]
        for number, (key, array) in enumerate(zip(keys, gradients)):
            self.store.push(key, array, priority=-number)
            self.store.pull(key, out=array, priority=-number)
        for array in gradients:
            array *= 1 / self.number

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of every process's float64 `numbers`."""
        if self.store is None:
            return numbers
        array = mx.nd.array(numbers, dtype="float64")
        key = self._key("numbers", array)
        self.store.push(key, array)
        self.store.pull(key, out=array)
        return array.asnumpy()

    def _key(self, name: str, array: Any) -> str:
        """The store's key for arrays like this one, made known to all before any is pushed."""
        kind = name, array.shape, np.dtype(array.dtype).name
        if kind not in self.keys:
            self.keys[kind] = f"{name} {array.shape} {kind[2]}"
            self.store.init(self.keys[kind], mx.nd.zeros_like(array))
            self.store._barrier()
        return self.keys[kind]
