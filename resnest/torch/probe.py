"""What a network computes from given weights, in PyTorch, as NumPy arrays: one side of `resnest.parity`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from resnest.spec import ResNeStSpec
from resnest.torch.model import ResNeSt
from resnest.torch.weights import get_weights, load_weights


def run_stages(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    """`[stem, stage 1, .. stage 4, logits]` of (N, C, H, W) images, in the images' dtype."""
    model = _model(spec, weights, images).eval()
    x = torch.from_numpy(images)
    with torch.inference_mode():
        return [stage.numpy() for stage in [*model.forward_stages(x), model(x)]]


def run_training_step(
    spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean cross entropy, its gradient by tensor, and the updated running statistics, of one training step."""
    model = _model(spec, weights, images).train()
    loss = F.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels))
    loss.backward()
    gradients = {name: tensor.grad.numpy() for name, tensor in model.named_parameters() if tensor.grad is not None}
    statistics = {name: array for name, array in get_weights(model).items() if ".running_" in name}
    return loss.item(), gradients, statistics


def _model(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> ResNeSt:
    with torch.device("meta"):
        model = ResNeSt(spec)
    load_weights(model, weights)
    return model.to(torch.from_numpy(images).dtype)
