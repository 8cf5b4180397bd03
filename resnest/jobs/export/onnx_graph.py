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
from resnest.specs.blocks import (
    NORM_TENSORS,
    STEM_POOL,
    BlockSpec,
    ConvSpec,
    Layer,
    PoolSpec,
    SplitAttentionSpec,
)
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.formats.tensors import Tensors
from resnest.weights.recognition.check import check

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
    check({name: array.shape for name, array in weights.items()}, spec.tensors(), spec.name)
    weights = weights if dtype is None else dict(Tensors.of(weights).cast(dtype))
    inside = onnx.helper.np_dtype_to_tensor_dtype(next(iter(weights.values())).dtype)
    outside = inside if dtype is None else onnx.TensorProto.FLOAT
    graph = _Graph(onnx, weights, spec.norm_eps, spec.activation)
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


def _pooled(graph: _Graph, x: str, kind: str) -> str:
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


def import_onnx() -> Any:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ImportError(
            f"ONNX files need onnx, and {error.name} is not installed: pip install 'resnest[export]'"
        ) from error
    return onnx


def _block(graph: _Graph, x: str, block: BlockSpec) -> str:
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


def _weigh_apart(graph: _Graph, splits: list[str], fc1: Layer, fc2: Layer, splat: SplitAttentionSpec, name: str) -> str:
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
    graph: _Graph, splits: list[str], fc1: Layer, fc2: Layer, splat: SplitAttentionSpec, name: str
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


def _attention(graph: _Graph, gap: str, fc1: Layer, fc2: Layer, splat: SplitAttentionSpec, name: str) -> str:
    """The weights of the splits, (N, R, K, C / K), from the pooled sum of the splits, (N, C, 1, 1)."""
    attention = graph.layer(graph.activation(graph.layer(gap, fc1)), fc2)
    scores = graph.reshape(f"{name}.attention", attention, (0, splat.cardinality, splat.radix, -1))
    scores = graph.node("Transpose", f"{name}.radix", scores, perm=[0, 2, 1, 3])
    if splat.radix == 1:
        return graph.node("Sigmoid", f"{name}.weights", scores)
    return graph.node("Softmax", f"{name}.weights", scores, axis=1)


class _Graph:
    """Nodes and tensors as they are added; a node's output is called by its name."""

    def __init__(self, onnx: Any, weights: Mapping[str, np.ndarray], eps: float, activation: str):
        self.onnx = onnx
        self.weights = weights
        self.eps = eps
        self.kind = activation
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.shapes: dict[str, list[int | str]] = {}

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def tensor(self, name: str, array: np.ndarray | None = None) -> str:
        """A constant called `name`; without an array it is the weight of that name."""
        array = self.weights[name] if array is None else array
        self.initializers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def numbers(self, name: str, values: list[int]) -> str:
        return self.tensor(name, np.array(values, np.int64))

    def reshape(self, name: str, x: str, shape: tuple[int, ...]) -> str:
        return self.node("Reshape", name, x, self.numbers(f"{name}.shape", list(shape)))

    def add(self, name: str, parts: list[str]) -> str:
        """The sum of `parts`; one part is its own."""
        total = parts[0]
        for number, part in enumerate(parts[1:], 1):
            total = self.node("Add", f"{name}.{number}", total, part)
        return total

    def sum(self, name: str, x: str, axis: int) -> str:
        return self.node("ReduceSum", name, x, self.numbers(f"{name}.axis", [axis]), keepdims=0)

    def split(self, name: str, x: str, parts: int) -> list[str]:
        if parts == 1:
            return [x]
        outputs = [f"{name}.{part}" for part in range(parts)]
        self.nodes.append(self.onnx.helper.make_node("Split", [x], outputs, name=name, axis=1))
        return outputs

    def activation(self, x: str) -> str:
        """The spec's activation of x; ONNX has no node of its own for two of them at this opset."""
        if self.kind == "relu":
            return self.node("Relu", f"{x}.relu", x)
        if self.kind == "silu":
            return self.node("Mul", f"{x}.silu", x, self.node("Sigmoid", f"{x}.sigmoid", x))
        dtype = next(iter(self.weights.values())).dtype
        half, root = (self.tensor(f"{x}.{name}", np.array(n, dtype)) for name, n in (("half", 0.5), ("root", 0.5**0.5)))
        share = self.node("Erf", f"{x}.erf", self.node("Mul", f"{x}.scaled", x, root))
        share = self.node("Add", f"{x}.share", half, self.node("Mul", f"{x}.halved", share, half))
        return self.node("Mul", f"{x}.gelu", x, share)

    def layer(self, x: str, layer: Layer, part: int = 0, parts: int = 1) -> str:
        """A convolution, and its batch norm where it has one; of the output channels one part of so many equal ones."""
        conv: ConvSpec = layer.conv
        channels = slice(part * conv.out_channels // parts, (part + 1) * conv.out_channels // parts)
        suffix = f".{part}" if parts > 1 else ""

        def tensor(name: str) -> str:
            return self.tensor(name + suffix, self.weights[name][channels])

        inputs = [x, tensor(f"{layer.name}.weight")]
        if conv.bias:
            inputs.append(tensor(f"{layer.name}.bias"))
        x = self.node(
            "Conv",
            layer.name + suffix,
            *inputs,
            kernel_shape=[conv.kernel_size] * 2,
            strides=[conv.stride] * 2,
            dilations=[conv.dilation] * 2,
            pads=[conv.padding] * 4,
            group=max(conv.groups // parts, 1),
        )
        if layer.norm is None:
            return x
        norm = [tensor(f"{layer.norm}.{name}") for name in NORM_TENSORS]
        return self.node("BatchNormalization", layer.norm + suffix, x, *norm, epsilon=self.eps)

    def pool(self, kind: str, name: str, x: str, pool: PoolSpec | None) -> str:
        if pool is None or pool.kernel_size == 1:
            return x
        attributes: dict[str, Any] = {"ceil_mode": int(pool.ceil_mode)}
        if kind == "AveragePool":
            attributes["count_include_pad"] = int(pool.count_include_pad)
        window = {"kernel_shape": [pool.kernel_size] * 2, "strides": [pool.stride] * 2, "pads": [pool.padding] * 4}
        return self.node(kind, name, x, **window, **attributes)


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


def read(path: Path, format: str = "onnx") -> Callable[..., Any]:
    """What onnxruntime makes of the inputs of the file at `path`: an array, or of several outputs a list of them."""
    session = import_onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def predict(*inputs: np.ndarray) -> Any:
        found = session.run(None, dict(zip(names, inputs)))
        return found if len(found) > 1 else found[0]

    return predict


def import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ImportError(
            f"running ONNX files needs onnxruntime, and {error.name} is not installed: pip install 'resnest[export]'"
        ) from error
    return onnxruntime
