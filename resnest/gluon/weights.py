"""Canonical weights into and out of an MXNet Gluon model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.gluon.model import ResNeSt
from resnest.weights.check import fit
from resnest.weights.fold import in_form_of
from resnest.weights.naming import DIALECTS


def load_weights(model: ResNeSt, weights: Mapping[str, np.ndarray], *, ctx: Any = None, copy: bool = True) -> None:
    """Copy canonical `weights` into `model`, in the dtype and on the contexts that it has.

    A model that is not initialized gets memory on `ctx` on the way, or without `copy` on the CPU
    that of the arrays where their dtype is the model's. Weights for a model in deploy form are
    folded where they are not yet. Raises ValueError, listing them, for tensors that are unknown,
    missing or misshaped.
    """
    targets = _parameters(model)
    weights = in_form_of(model.spec, weights)
    arrays = fit(weights, {name: tuple(parameter.shape) for name, parameter in targets.items()}, model.spec.name)
    for name, target in targets.items():
        source = mx.nd.from_numpy(np.array(arrays[name], target.dtype, order="C", copy=copy))
        if target._data is None:
            _materialise(target, source, ctx)
        else:
            target.set_data(source)


def get_weights(model: ResNeSt) -> dict[str, np.ndarray]:
    """A copy of the model's weights: canonical name -> array, in checkpoint order."""
    return {name: parameter.list_data()[0].asnumpy() for name, parameter in _parameters(model).items()}


def _parameters(model: ResNeSt) -> dict[str, Any]:
    parameters = model._collect_params_with_prefix()  # by structural names, as save_parameters writes them
    names = DIALECTS["gluon"].to_canonical(parameters)
    return {names[name]: parameter for name, parameter in parameters.items()}


class _Owned:
    """An array that a parameter takes as its own where it would take a copy."""

    def __init__(self, array: Any):
        self.array = array

    def copyto(self, ctx: Any) -> Any:
        return self.array if ctx == self.array.context else self.array.copyto(ctx)


def _materialise(parameter: Any, array: Any, ctx: Any) -> None:
    """Give `parameter` its first memory; Gluon's own way fills it twice before the weights come."""
    if ctx is None:
        ctx = mx.context.current_context()
    contexts = [ctx] if isinstance(ctx, mx.Context) else ctx
    grad_req = parameter.grad_req
    if contexts != [array.context] or grad_req == "null":
        parameter._init_impl(_Owned(array), contexts)
        return
    # The gradient's zeros are NumPy's, which the system hands out when the first gradient is written:
    # a network that only predicts never takes that half of its memory.
    parameter._grad_req = "null"
    parameter._init_impl(_Owned(array), contexts)
    parameter._grad_req = grad_req
    parameter._grad = [mx.nd.from_numpy(np.zeros(array.shape, array.dtype))]
    mx.autograd.mark_variables(parameter.list_data(), parameter._grad, grad_req)
