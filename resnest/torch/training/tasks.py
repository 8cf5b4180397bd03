"""What a training asks of a network of each task: its loss, and what it says outside of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnest.backends.training import Place, Task
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.resnest import ResNeStSpec
from resnest.torch.training.loss import cross_entropy


def classifier_loss(network: Any, images: Any, targets: Any, place: Place) -> Tensor:
    """The cross entropy of images, (N, C, H, W), and targets (N, classes), each row adding up to 1."""
    return cross_entropy(network(place(images)), place(targets))


def logits(network: Any, images: Any, place: Place) -> np.ndarray:
    """What a classifier says of images, (N, classes)."""
    x = place(images)
    return network(x).to(x.dtype).cpu().numpy()


def detector_loss(network: Any, images: Any, targets: Any, place: Place) -> Tensor:
    """The sum of all losses; `targets` are the images' sizes without padding, and what is in each of them."""
    sizes, truths = targets
    placed = [
        {part: place(value) if isinstance(value, np.ndarray) else value for part, value in truth.items()}
        for truth in truths
    ]
    losses: dict[str, Tensor] = network(place(images), sizes, placed)
    return torch.stack([loss.to(torch.promote_types(loss.dtype, torch.float32)) for loss in losses.values()]).sum()


def detections(network: Any, images: Any, place: Place) -> list[dict[str, np.ndarray]]:
    """What is found in each photo, in its own pixels; `images` are a `resnest.data.detection.Batch`."""
    x, sizes, scales, frames = images
    x = place(x)
    sizes, scales = (torch.as_tensor(array).to(x.device) for array in (sizes, scales))
    found = network.detect(network.forward_pyramid(x), sizes, scales, frames)
    return [{part: value.cpu().numpy() for part, value in image.items()} for image in found]


TASKS: dict[type, Task] = {
    ResNeStSpec: Task(classifier_loss, logits),
    DetectionSpec: Task(detector_loss, detections),
}
"""Kind of spec -> how such networks are trained."""
