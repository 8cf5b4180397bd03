"""A segmentation network behind NumPy arrays, in MXNet Gluon."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.gluon.networks.segmentation import Segmenter
from resnest.gluon.weights import load_weights
from resnest.jobs.predict.segmentation import Predict
from resnest.specs.segmentation.network import SegmentationSpec


def predictor(spec: SegmentationSpec, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Predict:
    """A function from (N, 3, H, W) to logits (N, classes, H, W), computed on `device` ("cpu", "gpu:0", ...)."""
    kind, _, number = device.partition(":")
    ctx = mx.Context({"cuda": "gpu"}.get(kind, kind), int(number or 0))
    model = Segmenter(spec)
    load_weights(model, weights, ctx=ctx)

    def predict(images: np.ndarray) -> np.ndarray:
        return model.predict(mx.nd.array(images, ctx=ctx, dtype=images.dtype)).asnumpy()

    return predict
