"""MXNet's own file format: a symbol and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from resnest.backends.registry import Exporter
from resnest.gluon._mxnet import mx
from resnest.gluon.layers.units import resize_like
from resnest.gluon.networks.table import NETWORKS
from resnest.gluon.weights import load_weights
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.gluon import export

    _: Exporter = export

SYMBOL, PARAMS = "-symbol.json", "-0000.params"


def any_size(spec: Any, size: tuple[int, int] | None) -> None:
    """Nothing is refused."""


def one_size(spec: Any, size: tuple[int, int] | None) -> None:
    """Raise ValueError where nobody says the images' size, (height, width)."""
    if size is None:
        raise ValueError(f"the graph of {spec.name} resizes, and in MXNet has to know to what: say the images' size")


def refused(spec: Any, size: tuple[int, int] | None) -> None:
    """Raise ValueError for a network that is no one graph."""
    raise ValueError(
        f"MXNet's file is one graph, and {spec.name} chooses its boxes outside of one in MXNet: export it as onnx,"
        " torchscript or pt2"
    )


def write_block(model: Any, size: tuple[int, int] | None, path: Path) -> None:
    """Write a hybrid network, for images of any size where none is said."""
    model.hybridize()
    side = model.spec.minimum_size + 31
    model(mx.nd.zeros((1, model.spec.in_channels, *(size or (side, side)))))  # the graph is traced when it first runs
    model.export(str(path).removesuffix(SYMBOL))


def write_graph(model: Any, size: tuple[int, int] | None, path: Path) -> None:
    """Write a segmenter for images of `size` as one graph with its weights."""
    assert size is not None  # see one_size
    channels = model.spec.in_channels
    data = mx.sym.var("data", shape=(1, channels, *size), dtype="float32")  # poolings ask for the batch too
    symbol = resize_like(model(data), data)
    data._set_attr(__shape__=str((0, channels, *size)))  # any
    arrays = {parameter.name: parameter._reduce() for parameter in model.collect_params().values()}
    kinds = dict.fromkeys(symbol.list_arguments(), "arg") | dict.fromkeys(symbol.list_auxiliary_states(), "aux")
    symbol.save(str(path))
    kept = {f"{kind}:{name}": arrays[name] for name, kind in kinds.items() if name != "data"}
    mx.nd.save(str(path).removesuffix(SYMBOL) + PARAMS, kept)


class Task(NamedTuple):
    """How the networks of a task are written: what is refused, and what writes the others."""

    check: Callable[[Any, tuple[int, int] | None], None]
    write: Callable[[Any, tuple[int, int] | None, Path], None]


TASKS: dict[type, Task] = {
    ResNeStSpec: Task(any_size, write_block),
    SegmentationSpec: Task(one_size, write_graph),
    DetectionSpec: Task(refused, write_block),
}
"""Kind of spec -> how such networks are written."""


def write(
    spec: Any,
    weights: Mapping[str, np.ndarray],
    path: Path,
    format: str = "mxnet",
    size: tuple[int, int] | None = None,
    dtype: str | None = None,
) -> None:
    """Write `...-symbol.json` at `path` and `...-0000.params` beside it, the batch open, and without `size` the sides.

    A segmenter's logits are of the images' size, which its graph has to know. Raises ValueError for one without `size`,
    for a detector, and for any `dtype`.
    """
    check(spec, format, size, dtype)
    model = NETWORKS[type(spec)](spec, prefix="")
    load_weights(model, weights)
    TASKS[type(spec)].write(model, size, path)


def check(spec: Any, format: str = "mxnet", size: tuple[int, int] | None = None, dtype: str | None = None) -> None:
    """Raise ValueError for a network that the format cannot hold."""
    if dtype is not None:
        raise ValueError(f"MXNet's files compute in float32 here, not in {dtype}: export as torchscript or pt2")
    TASKS[type(spec)].check(spec, size)


def read(path: Path, format: str = "mxnet") -> Callable[..., Any]:
    """What the symbol at `path` predicts."""
    stem = str(path).removesuffix(SYMBOL)
    model = mx.gluon.SymbolBlock.imports(stem + SYMBOL, ["data"], stem + PARAMS)
    return lambda images: model(mx.nd.array(images, dtype=images.dtype)).asnumpy()
