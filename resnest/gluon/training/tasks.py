"""What a training asks of a network of each task: its loss, and what it says outside of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnest.backends.training import Place, Task
from resnest.gluon.training.loss import cross_entropy
from resnest.specs.resnest import ResNeStSpec


def classifier_loss(network: Any, images: Any, targets: Any, place: Place) -> Any:
    return cross_entropy(network(place(images)), place(targets))


def logits(network: Any, images: Any, place: Place) -> np.ndarray:
    return network(place(images)).asnumpy()


TASKS: dict[type, Task] = {ResNeStSpec: Task(classifier_loss, logits)}
"""Kind of spec -> how such networks are trained."""
