"""What a network computes from given weights, in MXNet Gluon, as NumPy arrays: one side of `resnest.parity`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.gluon.model import ResNeSt
from resnest.gluon.weights import get_weights, load_weights
from resnest.spec import ResNeStSpec
from resnest.weights.naming import DIALECTS


def run_stages(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    """`[stem, stage 1, .. stage 4, logits]` of (N, C, H, W) images, in the images' dtype."""
    model = _model(spec, weights, images)
    x = mx.nd.array(images, dtype=images.dtype)
    return [stage.asnumpy() for stage in [*model.forward_stages(x), model(x)]]


def run_training_step(
    spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean cross entropy, its gradient by tensor, and the updated running statistics, of one training step."""
    model = _model(spec, weights, images)
    cross_entropy = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    with mx.autograd.record():
        logits = model(mx.nd.array(images, dtype=images.dtype))
        loss = cross_entropy(logits, mx.nd.array(labels, dtype=images.dtype)).mean()
    loss.backward()
    parameters = model._collect_params_with_prefix()
    names = DIALECTS["gluon"].to_canonical(parameters)
    gradients = {names[name]: p.grad().asnumpy() for name, p in parameters.items() if p.grad_req != "null"}
    statistics = {name: array for name, array in get_weights(model).items() if ".running_" in name}
    return float(loss.asscalar()), gradients, statistics


def _model(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray) -> ResNeSt:
    model = ResNeSt(spec)
    load_weights(model, weights)
    model.cast(images.dtype)
    return model
