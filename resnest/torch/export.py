"""PyTorch's own file formats: TorchScript and the exported programs of `torch.export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnest.backends.registry import Exporter, Predict
from resnest.specs.resnest import ResNeStSpec
from resnest.torch.networks.resnest import ResNeSt
from resnest.torch.weights import load_weights

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.torch import export

    _: Exporter = export


def write(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], path: Path, format: str) -> None:
    """Write a model in eval mode as "torchscript" or "pt2", with batch, height and width left open."""
    with torch.device("meta"):
        model = ResNeSt(spec)
    load_weights(model, weights)
    model.eval()
    if format == "torchscript":
        torch.jit.save(torch.jit.script(model), path)
        return
    side = spec.minimum_size + 31
    example = torch.zeros(2, spec.in_channels, side, side)  # a batch of one would be taken for a constant
    # AUTO, because PyTorch itself draws the line below which the last feature map has one pixel.
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=(sizes,)), path)


def read(path: Path, format: str) -> Predict:
    """What the file at `path` predicts."""
    model = torch.jit.load(path) if format == "torchscript" else torch.export.load(path).module()

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(images)).numpy()

    return predict
