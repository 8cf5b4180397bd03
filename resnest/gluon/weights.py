"""Canonical weights into and out of an MXNet Gluon model, and the model into and out of a folder or the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.backends.hub import HubMixin
from resnest.gluon._mxnet import mx
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.fold import in_form_of
from resnest.weights.recognition.tasks import fit, own_names


def load_weights(model: Any, weights: Mapping[str, np.ndarray], *, ctx: Any = None, copy: bool = True) -> None:
    """Copy canonical `weights` into `model`, in the dtype and on the contexts that it has.

    The model is a ResNeSt or a segmentation network; one that is not initialized gets memory on
    `ctx` on the way, or without `copy` on the CPU that of the arrays where their dtype is the
    model's. Weights for a model in deploy form are folded where they are not yet. Raises
    ValueError, listing them, for tensors that are unknown, missing or misshaped.
    """
    targets = _parameters(model)
    shapes = {name: tuple(parameter.shape) for name, parameter in targets.items()}
    arrays = fit(in_form_of(model.spec, weights), model.spec, shapes)
    for name, target in targets.items():
        source = mx.nd.from_numpy(np.array(arrays[name], target.dtype, order="C", copy=copy))
        if target._data is None:
            _materialise(target, source, ctx)
        else:
            target.set_data(source)


def get_weights(model: Any) -> dict[str, np.ndarray]:
    """A copy of the model's weights: canonical name -> array, in checkpoint order."""
    return {name: parameter.list_data()[0].asnumpy() for name, parameter in _parameters(model).items()}


class SavedModel(HubMixin):
    """`save_pretrained`, `from_pretrained` (on the contexts `ctx`) and `push_to_hub`."""

    def _arrays(self) -> dict[str, np.ndarray]:
        return get_weights(self)

    @classmethod
    def _build(cls, spec: ResNeStSpec, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        ctx = options.get("ctx")
        model: Any = cls(spec, **{word: value for word, value in options.items() if word != "ctx"})
        load_weights(model, arrays, ctx=ctx, copy=False)
        return model


def canonical_names(model: Any) -> dict[str, str]:
    """Structural name, as `save_parameters` writes it -> canonical name, in checkpoint order."""
    names = own_names(model.spec, "gluon", list(model._collect_params_with_prefix()))
    return {theirs: ours for ours, theirs in names.items()}


def _parameters(model: Any) -> dict[str, Any]:
    parameters = model._collect_params_with_prefix()
    return {canonical: parameters[name] for name, canonical in canonical_names(model).items()}


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
