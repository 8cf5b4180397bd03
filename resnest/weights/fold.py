"""Batch norms folded into the convolutions before them: the weights of the deploy form.

In prediction a batch norm is a fixed scale and shift of each channel, so that a convolution
with other weights and a bias does the work of both (arXiv 1712.05877, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.specs.blocks import NORM_EPS, NORM_TENSORS
from resnest.weights.recognition.backbone import is_folded
from resnest.weights.recognition.check import check
from resnest.weights.recognition.tasks import recognise

Epsilons = float | Mapping[str, float]
"""What batch norms add to the variance: all of them the same, or each, by its canonical name, its own."""


def fold(weights: Mapping[str, np.ndarray], *, eps: Epsilons = NORM_EPS) -> dict[str, np.ndarray]:
    """The canonical `weights` of a network with every batch norm folded into the convolution before it.

    `eps` is the batch norms' own, one for all or a mapping from each norm's name. Computed in
    float64; every tensor keeps its dtype. Folded weights come back as they are. Raises ValueError
    for tensors that are not all of a ResNeSt.
    """
    shapes = {name: array.shape for name, array in weights.items()}
    spec = recognise(shapes)
    check(shapes, spec.tensors(), spec.name)
    return _fold(weights, spec, eps)


def in_form_of(spec: Any, weights: Mapping[str, np.ndarray], *, eps: Epsilons | None = None) -> dict[str, np.ndarray]:
    """`weights` as a network of this `spec` takes them: folded where it is a deploy form, without `eps` with its own.

    Raises ValueError for folded weights where it is not, because nothing unfolds them.
    """
    if is_folded(weights) and not spec.deploy:
        raise ValueError(
            f"these weights have their batch norms folded and {spec.name} was built with batch norms:"
            " build it with deploy=True, or load the weights they were folded from"
        )
    return _fold(weights, spec, spec.norm_eps if eps is None else eps) if spec.deploy else dict(weights)


def _fold(weights: Mapping[str, np.ndarray], spec: Any, eps: Epsilons) -> dict[str, np.ndarray]:
    """Fold each pair of `spec` that is there as a whole; what is not stays, so that a check can name it."""
    folded = dict(weights)
    for conv, _, norm in spec.in_form(False).layers():
        names = [f"{conv}.weight", *(f"{norm}.{tensor}" for tensor in NORM_TENSORS)]
        if norm is None or not all(name in weights for name in names):
            continue
        kernel, scale, shift, mean, var = (weights[name].astype(np.float64) for name in names)
        bias = weights.get(f"{conv}.bias", np.zeros(len(kernel)))
        scale = scale / np.sqrt(var + (eps[norm] if isinstance(eps, Mapping) else eps))
        for name in names[1:]:
            del folded[name]
        dtype = weights[names[0]].dtype
        folded[f"{conv}.weight"] = (kernel * scale[:, None, None, None]).astype(dtype)
        folded[f"{conv}.bias"] = (shift + (bias - mean) * scale).astype(dtype)
    order = spec.in_form(True).tensors()
    return {name: folded.pop(name) for name in order if name in folded} | folded
