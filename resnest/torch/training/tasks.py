"""What a training asks of a network of each task: its loss, and what it says outside of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from resnest.specs.resnest import ResNeStSpec
from resnest.torch.training.loss import cross_entropy

Place = Callable[[Any], Tensor]
"""Puts an array onto the device, its numbers in the dtype of the training."""


class Task(NamedTuple):
    """`loss` is of a network (or of what wraps it), images and what they are to be; `predict` of a network and images.

    Both are handed the images as a `Batch` has them, and a `Place`.
    """

    loss: Callable[[Any, Any, Any, Place], Tensor]
    predict: Callable[[Any, Any, Place], Any]


def classifier_loss(network: Any, images: Any, targets: Any, place: Place) -> Tensor:
    return cross_entropy(network(place(images)), place(targets))


def logits(network: Any, images: Any, place: Place) -> np.ndarray:
    x = place(images)
    return network(x).to(x.dtype).cpu().numpy()


TASKS: dict[type, Task] = {ResNeStSpec: Task(classifier_loss, logits)}
"""Kind of spec -> how such networks are trained."""
