"""What a training asks of a network of each task: its loss, and what it says outside of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnest.backends.training import Place, Task
from resnest.gluon.training.loss import cross_entropy
from resnest.specs.resnest import ResNeStSpec


def classifier_loss(network: Any, images: Any, targets: Any, place: Place) -> Any:
    """The cross entropy of images, (N, C, H, W), and targets (N, classes), each row adding up to 1."""
    return cross_entropy(network(place(images)), place(targets))


def logits(network: Any, images: Any, place: Place) -> np.ndarray:
    """What a classifier says of images, (N, classes)."""
    return network(place(images)).asnumpy()


TASKS: dict[type, Task] = {ResNeStSpec: Task(classifier_loss, logits)}
"""Kind of spec -> how such networks are trained."""
