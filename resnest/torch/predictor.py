"""A segmentation network behind NumPy arrays, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from resnest.jobs.predict.segmentation import Predict
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.torch.networks.segmentation import Segmenter
from resnest.torch.weights import load_weights


def predictor(spec: SegmentationSpec, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Predict:
    """A function from (N, 3, H, W) to logits (N, classes, H, W), computed on `device` ("cpu", "cuda:0", ...)."""
    with torch.device("meta"):
        model = Segmenter(spec)
    load_weights(model, weights)
    model.eval().to(device)

    def predict(images: np.ndarray) -> np.ndarray:
        return model.predict(torch.from_numpy(images).to(device)).cpu().numpy()

    return predict
