"""A network as an ONNX graph, straight from its spec and weights, without PyTorch or MXNet.

Written here and not traced by a framework's exporter, so that batch, height and width are
open, poolings keep their strides, and split attention is put the way a runtime likes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import resnest
from resnest.jobs.export.nodes import Graph
from resnest.jobs.export.packages import import_onnx, import_onnxruntime
from resnest.specs.blocks import (
    STEM_POOL,
    BlockSpec,
    Layer,
    SplitAttentionSpec,
)
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.formats.tensors import Tensors
from resnest.weights.recognition.check import check as check_shapes

OPSET = 17
"""The newest that every onnxruntime since 1.12 reads."""

IR_VERSION = 8


def build(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], dtype: str | None = None) -> Any:
    """The `onnx.ModelProto` from `image`, (batch, channels, height, width), to `logits`, (batch, classes).

    Without a classifier the output is the pooled features, (batch, channels), and without a pooling the last
    feature map. With a `dtype` ("float16") it computes in that, and takes and gives float32; without one all is in the
    dtype of the weights. Raises ValueError for weights that are not the spec's own or too large for `dtype`, and
    ImportError without onnx.
    """
    onnx = import_onnx()
    check_shapes({name: array.shape for name, array in weights.items()}, spec.tensors(), spec.name)
    weights = weights if dtype is None else dict(Tensors.of(weights).cast(dtype))
    inside = onnx.helper.np_dtype_to_tensor_dtype(next(iter(weights.values())).dtype)
    outside = inside if dtype is None else onnx.TensorProto.FLOAT
    graph = Graph(onnx, weights, spec.norm_eps, spec.activation)
    x = "image" if dtype is None else graph.node("Cast", "image.rounded", "image", to=inside)
    for layer in spec.stem():
        x = graph.activation(graph.layer(x, layer))
    x = graph.pool("MaxPool", "maxpool", x, STEM_POOL)
    for block in spec.blocks():
        x = _block(graph, x, block)
    x = _pooled(graph, x, spec.global_pool)
    if spec.num_classes:
        x = graph.node("Gemm", "fc", x, graph.tensor("fc.weight"), graph.tensor("fc.bias"), transB=1)
    if dtype is None:
        graph.node("Identity", "logits", x)
    else:
        graph.node("Cast", "logits", x, to=outside)
    value = onnx.helper.make_tensor_value_info
    proto = onnx.helper.make_graph(
        graph.nodes,
        spec.name,
        [value("image", outside, ["batch", spec.in_channels, "height", "width"])],
        [value("logits", outside, _output_shape(spec))],
        graph.initializers,
        value_info=[value(name, inside, shape) for name, shape in graph.shapes.items()],
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(
        proto,
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="resnest",
        producer_version=resnest.__version__,
    )
    onnx.helper.set_model_props(model, {"model": spec.name, "deploy": str(spec.deploy).lower()})
    onnx.checker.check_model(model)
    return model


def _output_shape(spec: ResNeStSpec) -> list[int | str]:
    if spec.global_pool:
        return ["batch", spec.num_classes or spec.pooled_channels]
    return ["batch", spec.feature_channels[-1], "layer4.height", "layer4.width"]


def _pooled(graph: Graph, x: str, kind: str) -> str:
    """The last feature map, (N, C, H, W), as numbers, (N, C) or (N, 2 C), in one of the spec's `GLOBAL_POOLS`."""
    if not kind:
        return x
    average = graph.node("GlobalAveragePool", "avgpool", x) if kind != "max" else ""
    largest = graph.node("GlobalMaxPool", "maxpool.global", x) if kind != "avg" else ""
    if average and largest:
        both = "Concat" if kind == "catavgmax" else "Mean"
        axis = {"axis": 1} if kind == "catavgmax" else {}
        return graph.node("Flatten", "flatten", graph.node(both, "pooled", average, largest, **axis))
    return graph.node("Flatten", "flatten", average or largest)


def _block(graph: Graph, x: str, block: BlockSpec) -> str:
    conv1, conv, fc1, fc2, conv3, *projection = block.layers()
    shortcut = x
    if block.projection_pool is not None:
        shortcut = graph.pool("AveragePool", f"{block.name}.downsample.0", shortcut, block.projection_pool)
    for layer in projection:
        shortcut = graph.layer(shortcut, layer)
    radix = block.attention.radix
    # Splits in feature maps of their own need not be cut out; three and more would read x too often for that.
    parts = radix if radix <= 2 else 1
    splits = []
    for part in range(parts):
        split = graph.activation(graph.layer(x, conv1, part, parts))
        split = graph.pool("AveragePool", f"{block.name}.pool_before.{part}", split, block.pool_before)
        splits.append(graph.activation(graph.layer(split, conv, part, parts)))
    weigh = _weigh_apart if parts == radix else _weigh_together
    x = weigh(graph, splits, fc1, fc2, block.attention, f"{block.name}.conv2")
    x = graph.pool("AveragePool", f"{block.name}.pool_after", x, block.pool_after)
    x = graph.layer(x, conv3)
    # onnxruntime adds inside the convolution where it knows that both have the same shape.
    for operand in (x, shortcut):
        graph.shapes[operand] = ["batch", block.out_channels, f"layer{block.stage}.height", f"layer{block.stage}.width"]
    return graph.activation(graph.add(f"{block.name}.add", [x, shortcut]))


def _weigh_apart(graph: Graph, splits: list[str], fc1: Layer, fc2: Layer, splat: SplitAttentionSpec, name: str) -> str:
    """The weighted sum, (N, C, H, W), of the splits, each (N, C, H, W)."""
    gaps = [graph.node("GlobalAveragePool", f"{split}.gap", split) for split in splits]
    weights = _attention(graph, graph.add(f"{name}.gap", gaps), fc1, fc2, splat, name)
    weights = graph.reshape(f"{name}.weights.pixel", weights, (0, -1, 1, 1))  # (N, R * C, 1, 1)
    weighted = [
        graph.node("Mul", f"{weight}.times", split, weight)
        for split, weight in zip(splits, graph.split(f"{name}.weights.split", weights, splat.radix))
    ]
    return graph.add(name, weighted)


def _weigh_together(
    graph: Graph, splits: list[str], fc1: Layer, fc2: Layer, splat: SplitAttentionSpec, name: str
) -> str:
    """The same where one feature map, (N, R * C, H, W), holds all splits."""
    (x,) = splits
    channels = splat.channels
    gap = graph.node("GlobalAveragePool", f"{x}.gap", x)
    gaps = graph.reshape(f"{name}.gaps", gap, (0, splat.radix, channels, 1, 1))
    weights = _attention(graph, graph.sum(f"{name}.gap", gaps, axis=1), fc1, fc2, splat, name)
    weights = graph.reshape(f"{name}.weights.pixel", weights, (0, splat.radix, channels, 1))
    pixels = graph.reshape(f"{name}.splits", x, (0, splat.radix, channels, -1))  # (N, R, C, H * W)
    total = graph.sum(f"{name}.sum", graph.node("Mul", f"{name}.weighted", pixels, weights), axis=1)
    size = graph.node("Shape", f"{name}.size", x, start=2)
    shape = graph.node("Concat", f"{name}.shape", graph.numbers(f"{name}.channels", [0, channels]), size, axis=0)
    return graph.node("Reshape", name, total, shape)


def _attention(graph: Graph, gap: str, fc1: Layer, fc2: Layer, splat: SplitAttentionSpec, name: str) -> str:
    """The weights of the splits, (N, R, K, C / K), from the pooled sum of the splits, (N, C, 1, 1)."""
    attention = graph.layer(graph.activation(graph.layer(gap, fc1)), fc2)
    scores = graph.reshape(f"{name}.attention", attention, (0, splat.cardinality, splat.radix, -1))
    scores = graph.node("Transpose", f"{name}.radix", scores, perm=[0, 2, 1, 3])
    if splat.radix == 1:
        return graph.node("Sigmoid", f"{name}.weights", scores)
    return graph.node("Softmax", f"{name}.weights", scores, axis=1)


def write(
    spec: ResNeStSpec,
    weights: Mapping[str, np.ndarray],
    path: Path,
    format: str = "onnx",
    size: tuple[int, int] | None = None,
    dtype: str | None = None,
) -> None:
    """Write the network at `path`; its graph takes float32 images of any size, whatever `size` and `weights` are."""
    import_onnx().save(build(spec, dict(Tensors.of(weights).cast("float32")), dtype), path)


def check(spec: Any, format: str = "onnx", size: tuple[int, int] | None = None, dtype: str | None = None) -> None:
    """Raise ValueError for a dtype that ONNX files do not compute in, and ImportError without onnx."""
    if dtype == "bfloat16":
        raise ValueError("onnxruntime computes nothing in bfloat16 on a processor: take float16, or torchscript or pt2")
    import_onnx()


def read(path: Path, format: str = "onnx") -> Callable[..., Any]:
    """What onnxruntime makes of the inputs of the file at `path`: an array, or of several outputs a list of them."""
    session = import_onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def predict(*inputs: np.ndarray) -> Any:
        found = session.run(None, dict(zip(names, inputs)))
        return found if len(found) > 1 else found[0]

    return predict
