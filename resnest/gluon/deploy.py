"""The deploy form of an MXNet Gluon model."""

from __future__ import annotations

import dataclasses
from typing import Any

from resnest.blocks import NORM_EPS
from resnest.gluon.model import ResNeSt, ResNeStFeatures
from resnest.gluon.weights import get_weights, load_weights
from resnest.weights.fold import in_form_of


def deploy(model: ResNeSt) -> ResNeSt:
    """A new model that predicts what `model` does, its batch norms folded into the convolutions before them.

    It has no dropout, is not hybridized, and keeps the dtype and contexts. Raises ValueError for
    a model whose norms are no batch norms with running statistics.
    """
    weights = get_weights(model)
    if not model.spec.deploy and "bn1.running_var" not in weights:
        raise ValueError(
            f"only batch norms with running statistics fold into convolutions, and the norms here are {model.bn1}:"
            " predict with the model as it is"
        )
    spec = dataclasses.replace(model.spec, deploy=True)
    options: dict[str, Any] = {"out_indices": model.out_indices} if isinstance(model, ResNeStFeatures) else {}
    deployed = type(model)(spec, **options)
    like = model.layer1[0].conv1.weight
    deployed.cast(like.dtype)
    eps = NORM_EPS if model.spec.deploy else model.bn1._kwargs["eps"]
    load_weights(deployed, in_form_of(spec, weights, eps=eps), ctx=like.list_ctx())
    return deployed
