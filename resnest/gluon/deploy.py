"""The deploy form of an MXNet Gluon model, and the fastest way to run it on a CPU."""

from __future__ import annotations

import warnings
from typing import Any

from resnest.backends.processor import check_dtype
from resnest.gluon._mxnet import amp, mx
from resnest.gluon.weights import get_weights, live_spec, load_weights, norms
from resnest.weights.fold import in_form_of


def deploy(model: Any) -> Any:
    """A new model that predicts what `model` does, its batch norms folded into the convolutions before them.

    It has no dropout, is not hybridized, and keeps the dtype and contexts. Raises ValueError for
    a model whose norms are no batch norms with running statistics, and for one that was changed since it
    was built so that its spec does not say it.
    """
    weights = get_weights(model)
    backbone = getattr(model, "backbone", model)
    if not model.spec.deploy and not any(name.endswith(".running_var") for name in weights):
        raise ValueError(
            f"only batch norms with running statistics fold into convolutions, and the norms here are {backbone.bn1}:"
            " predict with the model as it is"
        )
    eps = {norm: numbers["norm_eps"] for norm, numbers in norms(model).items()}
    spec = live_spec(model).in_form(deploy=True)
    deployed = model.rebuilt(spec)
    like = backbone.layer1[0].conv1.weight
    deployed.cast(like.dtype)
    load_weights(deployed, in_form_of(spec, weights, eps=eps), ctx=like.list_ctx())
    deployed.classes = model.classes
    return deployed


def optimize(model: Any, example: Any, *, dtype: str | None = None) -> Any:
    """A hybridized deploy form of `model`, for images of the shape of `example`, (N, C, H, W), on a CPU.

    MXNet's oneDNN backend puts ReLUs and residual adds into the convolutions before them and lays
    out each weight once as the processor wants it; memory is planned once. Of a segmenter or a detector that is the
    backbone, most of its work: the heads are no graph. With `dtype` "bfloat16" a classifier's convolutions compute in
    that; images and results stay in float32. Raises ValueError where MXNet was built without oneDNN, for a dtype that
    the processor has no instructions for, or MXNet on a CPU, and for networks that MXNet does not convert.
    """
    if dtype is not None:
        _check(dtype, model.spec)
    if not mx.runtime.Features().is_enabled("MKLDNN"):
        raise ValueError("this MXNet was built without oneDNN: hybridize model.deploy() instead of optimizing it")
    optimized = deploy(model)
    if dtype == "bfloat16":
        optimized.hybridize()
        optimized(example)  # or there is no graph to convert
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Cannot decide type")  # of the images: they stay what they are
            optimized = amp.convert_hybrid_block(optimized, target_dtype=dtype, ctx=example.context)
    graph = getattr(optimized, "backbone", optimized)
    graph.optimize_for(example, backend="MKLDNN", static_alloc=True, static_shape=True)
    return optimized


def _check(dtype: str, spec: Any) -> None:
    check_dtype(dtype)
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"MXNet's optimized form computes in float32 or bfloat16, and not in {dtype}")
    if dtype == "float32":
        return
    if hasattr(spec, "backbone"):
        raise ValueError(f"MXNet converts whole graphs to bfloat16, and {spec.name} has heads that are none")
    if spec.activation != "relu":
        raise ValueError(
            f"MXNet converts networks of ReLUs to bfloat16, and {spec.name} has {spec.activation}: take float32"
        )
