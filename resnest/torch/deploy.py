"""The deploy form of a PyTorch model, and the fastest way to run it on a CPU."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnest.specs.blocks import NORM_EPS
from resnest.torch.weights import get_weights, load_weights
from resnest.weights.fold import in_form_of

# of glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def deploy(model: Any) -> Any:
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
    with torch.device("meta"):
        deployed = model.rebuilt(spec)
    like = next(model.parameters())
    deployed.to(like.dtype)
    load_weights(deployed, in_form_of(spec, weights, eps=getattr(model.bn1, "eps", NORM_EPS)))
    return deployed.to(like.device).eval()


def optimize(model: Any, example: Tensor, path: str | os.PathLike | None = None) -> Callable[[Tensor], Tensor]:
    """A compiled function that predicts what `model` does, for images of the shape of `example`, (N, C, H, W).

    AOTInductor compiles the deploy form, channels last and with frozen weights, so that each
    weight is laid out once as the processor wants it and ReLUs and residual adds run inside the
    convolutions. It takes a C++ compiler and about a minute, and what it gives is bound to
    this kind of processor. `path` keeps it as a `.pt2` package; the next process loads that
    with `torch._inductor.aoti_load_package(path)`. On Linux the process then keeps memory that it
    freed: see `keep_freed_memory`. Raises ValueError for a path of another kind.
    """
    if path is not None and not str(path).endswith(".pt2"):
        raise ValueError(f"{path} does not end with .pt2, as an AOTInductor package does")
    keep_freed_memory()
    layout = torch.channels_last
    example = example.to(memory_format=layout)
    network = deploy(model).to(memory_format=layout)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program = torch.export.export(network, (example,))
        target = str(Path(folder, "model.pt2") if path is None else Path(path))
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=target, inductor_configs={"freezing": True}
        )
        compiled = torch._inductor.aoti_load_package(package)
    return lambda images: compiled(images.to(memory_format=layout))


def keep_freed_memory() -> None:
    """Have the C library keep what this process frees for its next feature maps. It does nothing without glibc.

    By itself glibc gives blocks of many megabytes back to the system, which clears every page
    again when the next feature map takes it. In a batch of eight that is a tenth of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)
        mallopt(M_MMAP_MAX, 0)
