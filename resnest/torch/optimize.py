"""The fastest way to predict on a CPU: the deploy form, compiled ahead of time with its weights inside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from resnest.torch.model import ResNeSt


def optimize(model: ResNeSt, example: Tensor, path: str | os.PathLike | None = None) -> Callable[[Tensor], Tensor]:
    """A compiled function that predicts what `model` does, for images of the shape of `example`, (N, C, H, W).

    AOTInductor compiles the deploy form, channels last and with frozen weights, so that each
    weight is laid out once as the processor wants it and ReLUs and residual adds run inside the
    convolutions. It takes a C++ compiler and about a minute, and what it gives is bound to
    this kind of processor. `path` keeps it as a `.pt2` package; the next process loads that
    with `torch._inductor.aoti_load_package(path)`. Raises ValueError for a path of another kind.
    """
    if path is not None and not str(path).endswith(".pt2"):
        raise ValueError(f"{path} does not end with .pt2, as an AOTInductor package does")
    layout = torch.channels_last
    example = example.to(memory_format=layout)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program = torch.export.export(model.deploy().to(memory_format=layout), (example,))
        target = str(Path(folder, "model.pt2") if path is None else Path(path))
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=target, inductor_configs={"freezing": True}
        )
        compiled = torch._inductor.aoti_load_package(package)
    return lambda images: compiled(images.to(memory_format=layout))
