"""Canonical weights into and out of a PyTorch model, and the model into and out of a folder or the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from resnest.backends.hub import HubMixin
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.fold import in_form_of
from resnest.weights.names.dialect import NOT_WEIGHTS
from resnest.weights.recognition.tasks import fit, own_names


def load_weights(model: Any, weights: Mapping[str, np.ndarray], *, copy: bool = True) -> None:
    """Copy canonical `weights` into `model`, in the dtype and on the device that it has.

    The model is a ResNeSt or a segmentation network; one on the meta device gets memory of its
    own on the way, or without `copy` that of the arrays where their dtype is the model's. Weights
    for a model in deploy form are folded where they are not yet. Raises ValueError, listing them,
    for tensors that are unknown, missing or misshaped.
    """
    attributes = _attributes(model)
    state = model.state_dict(keep_vars=True)
    targets = {name: state[attribute] for name, attribute in attributes.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in targets.items()}
    arrays = fit(in_form_of(model.spec, weights), model.spec, shapes)
    for name, target in targets.items():
        source = torch.from_numpy(np.require(arrays[name], requirements=("C", "W")))
        if target.is_meta:
            _materialise(model, attributes[name], source.to(target.dtype, copy=copy))
        else:
            with torch.no_grad():
                target.copy_(source)
    for name, counter in model.named_buffers():
        if counter.is_meta:
            _materialise(model, name, torch.zeros_like(counter, device="cpu"))


def get_weights(model: Any) -> dict[str, np.ndarray]:
    """A copy of the model's weights: canonical name -> array, in checkpoint order."""
    state = model.state_dict()
    names = _attributes(model)
    return {name: state[attribute].cpu().numpy().copy() for name, attribute in names.items()}


class SavedModel(HubMixin):
    """`save_pretrained`, `from_pretrained` (in eval mode, as all of the hub's models) and `push_to_hub`."""

    def _arrays(self) -> dict[str, np.ndarray]:
        return get_weights(self)

    @classmethod
    def _build(cls, spec: ResNeStSpec, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        with torch.device("meta"):
            model: Any = cls(spec, **options)
        load_weights(model, arrays, copy=False)
        return model.eval()


def canonical_names(model: Any) -> dict[str, str]:
    """Name in the model's state dict -> canonical name."""
    return {attribute: name for name, attribute in _attributes(model).items()}


def _attributes(model: Any) -> dict[str, str]:
    """Canonical name -> name in the model's state dict, in checkpoint order."""
    return own_names(model.spec, "torch", [name for name in model.state_dict() if not name.endswith(NOT_WEIGHTS)])


def _materialise(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    module = model.get_submodule(path)
    if attribute in module._parameters:
        setattr(module, attribute, nn.Parameter(tensor, requires_grad=getattr(module, attribute).requires_grad))
    else:
        setattr(module, attribute, tensor)
