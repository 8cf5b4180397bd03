"""MXNet's own file format: a symbol and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnest.backends.registry import Exporter, Predict
from resnest.gluon._mxnet import mx
from resnest.gluon.networks.resnest import ResNeSt
from resnest.gluon.weights import load_weights
from resnest.specs.resnest import ResNeStSpec

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.gluon import export

    _: Exporter = export

SYMBOL, PARAMS = "-symbol.json", "-0000.params"


def write(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], path: Path, format: str = "mxnet") -> None:
    """Write `...-symbol.json` at `path` and `...-0000.params` beside it."""
    model = ResNeSt(spec, prefix="")
    load_weights(model, weights)
    model.hybridize()
    side = spec.minimum_size + 31
    model(mx.nd.zeros((1, spec.in_channels, side, side)))  # the graph is traced when it first runs
    model.export(str(path).removesuffix(SYMBOL))


def read(path: Path, format: str = "mxnet") -> Predict:
    """What the symbol at `path` predicts."""
    stem = str(path).removesuffix(SYMBOL)
    model = mx.gluon.SymbolBlock.imports(stem + SYMBOL, ["data"], stem + PARAMS)
    return lambda images: model(mx.nd.array(images, dtype=images.dtype)).asnumpy()
