"""MXNet's DataLoader: what is read ahead of the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from resnest.backends.training import Make
from resnest.gluon._mxnet import mx


def load(make: Make, keys: Iterable[Any], workers: int, device: str = "cpu") -> Iterator[Any]:
    """What is made of each of the `keys`, in their order, ahead by threads; without `workers` when asked for.

    Pillow and NumPy let threads work side by side; processes of MXNet's would outlive one that is killed.
    """
    loader = mx.gluon.data.DataLoader(
        _Made(make),
        batch_sampler=([key] for key in keys),
        batchify_fn=itemgetter(0),
        num_workers=workers,
        thread_pool=True,
        timeout=24 * 60 * 60,
    )
    return iter(loader)


class _Made:
    """The data set that `make` stands for."""

    def __init__(self, make: Make):
        self.make = make

    def __getitem__(self, key: Any) -> Any:
        return self.make(key, np.empty)
