"""MXNet's DataLoader: what is read ahead of the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

from resnest.gluon._mxnet import mx


def load(dataset: Any, keys: Iterable[Any], workers: int, device: str = "cpu") -> Iterator[Any]:
    """`dataset[key]` for each of the `keys`, in their order, made ahead by threads; without `workers` when asked for.

    Pillow and NumPy let threads work side by side; processes of MXNet's would outlive one that is killed.
    """
    loader = mx.gluon.data.DataLoader(
        dataset,
        batch_sampler=([key] for key in keys),
        batchify_fn=itemgetter(0),
        num_workers=workers,
        thread_pool=True,
        timeout=24 * 60 * 60,
    )
    return iter(loader)
