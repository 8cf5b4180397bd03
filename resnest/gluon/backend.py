"""What a network computes from given weights, in MXNet Gluon, as NumPy arrays: one side of `resnest.jobs.parity`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.gluon.networks.resnest import ResNeSt
from resnest.gluon.networks.segmentation import Segmenter
from resnest.gluon.weights import canonical_names, get_weights, load_weights
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import AUXILIARY_WEIGHT, SegmentationSpec

Spec = ResNeStSpec | SegmentationSpec


def run_stages(spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    """`[stem, stage 1, .. stage 4, logits]` of (N, C, H, W) images, in the images' dtype."""
    model = _model(spec, weights, images)
    x = mx.nd.array(images, dtype=images.dtype)
    return [stage.asnumpy() for stage in [*model.forward_stages(x), model(x)]]


def run_training_step(
    spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean cross entropy, its gradient by tensor, and the updated running statistics, of one training step.

    A label is its image's, for a segmentation network that of all pixels.
    """
    model = _model(spec, weights, images)
    with mx.autograd.record():
        output = model(mx.nd.array(images, dtype=images.dtype))
        loss = sum(weight * cross_entropy(logits, labels) for weight, logits in weighted(output))
    loss.backward()
    parameters = model._collect_params_with_prefix()
    names = canonical_names(model)
    gradients = {names[name]: p.grad().asnumpy() for name, p in parameters.items() if p.grad_req != "null"}
    statistics = {name: array for name, array in get_weights(model).items() if ".running_" in name}
    return float(loss.asscalar()), gradients, statistics


def weighted(output: Any) -> list[tuple[float, Any]]:
    """Every logits that a network in training gives, and how much they count."""
    return list(zip((1.0, AUXILIARY_WEIGHT), output if isinstance(output, tuple) else (output,)))


def cross_entropy(logits: Any, labels: np.ndarray) -> Any:
    """The mean over images, and pixels where `logits` are (N, C, h, w)."""
    target = np.broadcast_to(labels.reshape(-1, *[1] * (logits.ndim - 2)), (len(labels), *logits.shape[2:]))
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss(axis=1)
    return loss(logits, mx.nd.array(target, dtype=logits.dtype)).mean()


def _model(spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> Any:
    model = Segmenter(spec) if isinstance(spec, SegmentationSpec) else ResNeSt(spec)
    load_weights(model, weights)
    model.cast(images.dtype)
    return model
