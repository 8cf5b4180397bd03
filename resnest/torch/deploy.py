"""The deploy form of a PyTorch model."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from resnest.blocks import NORM_EPS
from resnest.torch.model import ResNeSt, ResNeStFeatures
from resnest.torch.weights import get_weights, load_weights
from resnest.weights.fold import in_form_of


def deploy(model: ResNeSt) -> ResNeSt:
    """A new model that predicts what `model` does, its batch norms folded into the convolutions before them.

    It is in eval mode, has no dropout, and keeps the dtype and device. Raises ValueError for a
    model whose norms are no batch norms with running statistics.
    """
    weights = get_weights(model)
    if not model.spec.deploy and "bn1.running_var" not in weights:
        raise ValueError(
            f"only batch norms with running statistics fold into convolutions, and the norms here are {model.bn1}:"
            " predict with the model as it is"
        )
    spec = dataclasses.replace(model.spec, deploy=True)
    options: dict[str, Any] = {"out_indices": model.out_indices} if isinstance(model, ResNeStFeatures) else {}
    with torch.device("meta"):
        deployed = type(model)(spec, **options)
    like = next(model.parameters())
    deployed.to(like.dtype)
    load_weights(deployed, in_form_of(spec, weights, eps=getattr(model.bn1, "eps", NORM_EPS)))
    return deployed.to(like.device).eval()
