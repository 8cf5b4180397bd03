"""What a network computes from given weights, in PyTorch, as NumPy arrays: one side of `resnest.jobs.parity`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import AUXILIARY_WEIGHT, SegmentationSpec
from resnest.torch.networks.resnest import ResNeSt
from resnest.torch.networks.segmentation import Segmenter
from resnest.torch.weights import canonical_names, get_weights, load_weights

Spec = ResNeStSpec | SegmentationSpec


def run_stages(spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    """`[stem, stage 1, .. stage 4, logits]` of (N, C, H, W) images, in the images' dtype."""
    model = _model(spec, weights, images).eval()
    x = torch.from_numpy(images)
    with torch.inference_mode():
        return [stage.numpy() for stage in [*model.forward_stages(x), model(x)]]


def run_training_step(
    spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean cross entropy, its gradient by tensor, and the updated running statistics, of one training step.

    A label is its image's, for a segmentation network that of all pixels.
    """
    model = _model(spec, weights, images).train()
    output = model(torch.from_numpy(images))
    loss = torch.stack([weight * cross_entropy(logits, labels) for weight, logits in weighted(output)]).sum()
    loss.backward()
    names = canonical_names(model)
    gradients = {names[name]: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    statistics = {name: array for name, array in get_weights(model).items() if ".running_" in name}
    return loss.item(), gradients, statistics


def weighted(output: Any) -> list[tuple[float, torch.Tensor]]:
    """Every logits that a network in training gives, and how much they count."""
    return list(zip((1.0, AUXILIARY_WEIGHT), output if isinstance(output, tuple) else (output,)))


def cross_entropy(logits: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """The mean over images, and pixels where `logits` are (N, C, h, w)."""
    target = torch.from_numpy(labels).reshape(-1, *[1] * (logits.ndim - 2))
    return F.cross_entropy(logits, target.expand(-1, *logits.shape[2:]))


def _model(spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> Any:
    with torch.device("meta"):
        model = Segmenter(spec) if isinstance(spec, SegmentationSpec) else ResNeSt(spec)
    load_weights(model, weights)
    return model.to(torch.from_numpy(images).dtype)
