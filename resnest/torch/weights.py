"""Canonical weights into and out of a PyTorch model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from resnest.torch.model import ResNeSt
from resnest.weights.check import fit
from resnest.weights.fold import in_form_of
from resnest.weights.naming import NOT_WEIGHTS


def load_weights(model: ResNeSt, weights: Mapping[str, np.ndarray], *, copy: bool = True) -> None:
    """Copy canonical `weights` into `model`, in the dtype and on the device that it has.

    A model on the meta device gets memory of its own on the way, or without `copy` that of the
    arrays where their dtype is the model's. Weights for a model in deploy form are folded where
    they are not yet. Raises ValueError, listing them, for tensors that are unknown, missing or
    misshaped.
    """
    targets = _tensors(model)
    weights = in_form_of(model.spec, weights)
    arrays = fit(weights, {name: tuple(tensor.shape) for name, tensor in targets.items()}, model.spec.name)
    for name, target in targets.items():
        source = torch.from_numpy(np.require(arrays[name], requirements=("C", "W")))
        if target.is_meta:
            _materialise(model, name, source.to(target.dtype, copy=copy))
        else:
            with torch.no_grad():
                target.copy_(source)
    for name, counter in model.named_buffers():
        if counter.is_meta:
            _materialise(model, name, torch.zeros_like(counter, device="cpu"))


def get_weights(model: ResNeSt) -> dict[str, np.ndarray]:
    """A copy of the model's weights: canonical name -> array, in checkpoint order."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in _tensors(model).items()}


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    state = model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if not name.endswith(NOT_WEIGHTS)}


def _materialise(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    module = model.get_submodule(path)
    if attribute in module._parameters:
        setattr(module, attribute, nn.Parameter(tensor, requires_grad=getattr(module, attribute).requires_grad))
    else:
        setattr(module, attribute, tensor)
