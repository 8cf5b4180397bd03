"""Canonical weights into and out of an MXNet Gluon model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.segmentation import SegmentationSpec
from resnest.weights.check import fit
from resnest.weights.naming import DIALECTS
from resnest.weights.segmentation_check import fit_segmentation
from resnest.weights.segmentation_names import get_dialect


def load_weights(model: Any, weights: Mapping[str, np.ndarray], *, ctx: Any = None) -> None:
    """Copy canonical `weights` into `model`, in the dtype and on the contexts that it has.

    The model is a ResNeSt or a segmentation network; one that is not initialized gets memory on
    `ctx` on the way. Raises ValueError, listing them, for tensors that are unknown, missing or
    misshaped.
    """
    targets = _parameters(model)
    if isinstance(model.spec, SegmentationSpec):
        arrays = fit_segmentation(weights, model.spec)
    else:
        arrays = fit(weights, {name: tuple(parameter.shape) for name, parameter in targets.items()}, model.spec.name)
    for name, target in targets.items():
        if target._data is None:
            target.initialize(mx.init.Zero(), ctx=ctx)
        target.set_data(mx.nd.array(arrays[name], dtype=target.dtype))


def get_weights(model: Any) -> dict[str, np.ndarray]:
    """A copy of the model's weights: canonical name -> array, in checkpoint order."""
    return {name: parameter.list_data()[0].asnumpy() for name, parameter in _parameters(model).items()}


def canonical_names(model: Any) -> dict[str, str]:
    """Structural name, as `save_parameters` writes it -> canonical name, in checkpoint order."""
    if isinstance(model.spec, SegmentationSpec):
        names = get_dialect("gluon", model.spec.head).from_canonical(model.spec.tensors())
        return {theirs: ours for ours, theirs in names.items()}
    return DIALECTS["gluon"].to_canonical(model._collect_params_with_prefix())


def _parameters(model: Any) -> dict[str, Any]:
    parameters = model._collect_params_with_prefix()
    return {canonical: parameters[name] for name, canonical in canonical_names(model).items()}
