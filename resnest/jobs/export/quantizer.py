"""A float32 ONNX graph with its convolutions, additions and poolings in INT8, as onnxruntime fuses them.

Every tensor between two of the `KINDS` is rounded once, by a pair of QuantizeLinear and DequantizeLinear, so that
onnxruntime finds a whole kernel of integers in each place; its own quantizer leaves the sums of the split attention
in float32, and its poolings are slow. The convolution that reads the image
stays in float32, which is faster for three channels and loses no grey level. So does all behind the last feature map:
means of many pixels need more digits than a pixel has, and rounding them is half of all the error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnest.jobs.export.packages import import_onnx, import_onnxruntime

KINDS = ("Conv", "Add", "Mul", "GlobalAveragePool", "AveragePool", "MaxPool")
"""What onnxruntime has kernels of integers for."""

CLASSIFIER = "avgpool"
"""The node that the classifier begins with."""

HALVING = {
    "kernel_shape": [2, 2],
    "strides": [2, 2],
    "pads": [0, 0, 0, 0],
    "ceil_mode": 1,
    "count_include_pad": 0,
}
"""The pooling of a shortcut: where a side is odd, its last windows average what exists."""

METHOD = (
    "per channel int8 weights, uint8 activations between their extremes, biases corrected for rounded weights;"
    " first convolution and classifier in float32"
)


@dataclass
class Seen:
    """The extremes of a tensor, 0 among them, and the mean of each channel of feature maps, over `images`."""

    low: float = 0.0
    high: float = 0.0
    mean: Any = 0.0
    images: int = 0

    def add(self, array: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        if array.ndim == 4:
            self.images += 1
            self.mean += (array.mean((0, 2, 3)) - self.mean) / self.images

    @property
    def scale(self) -> np.ndarray:
        return np.array(max(self.high - self.low, 1e-12) / 255, np.float32)

    @property
    def zero(self) -> np.ndarray:
        return np.array(round(-self.low / float(self.scale)), np.uint8)


def quantized(model: Any, images: Iterable[np.ndarray]) -> Any:
    """The float32 `model`, an `onnx.ModelProto`, in INT8: ranges are those that its tensors have on `images`."""
    onnx = import_onnx()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _pool_by_convolution(onnx, result.graph)
    return _Rounding(onnx, result, _calibrated(onnx, result, images)).run()


def _pool_by_convolution(onnx: Any, graph: Any) -> None:
    """Average poolings as convolutions, which do the same five times as fast in INT8.

    Those that count their padding are one as they are. One of 2 x 2 pixels that averages what exists at the border
    is one of the map with its last row and column repeated: where a side is even, no window reaches the repeated ones.
    """
    rows = {tensor.name: tensor.dims for tensor in graph.initializer}
    read_by = {node.input[0]: node for node in graph.node if node.op_type == "Conv"}
    constant, node_of = onnx.numpy_helper.from_array, onnx.helper.make_node
    nodes = []
    for node in graph.node:
        window = {word.name: onnx.helper.get_attribute_value(word) for word in node.attribute}
        if node.op_type == "AveragePool" and (window == HALVING or _counts_padding(window)):
            name, read, after, kernel = node.name, node.input[0], read_by[node.output[0]], window["kernel_shape"]
            groups = next(word.i for word in after.attribute if word.name == "group")
            count = rows[after.input[1]][1] * groups
            graph.initializer.append(
                constant(np.full((count, 1, *kernel), 1 / np.prod(kernel), np.float32), f"{name}.weight")
            )
            if window == HALVING:
                graph.initializer.append(constant(np.array([0, 0, 0, 0, 0, 0, 1, 1]), f"{name}.pads"))
                nodes.append(node_of("Pad", [read, f"{name}.pads"], [f"{name}.padded"], mode="edge"))
                read = f"{name}.padded"
            window = {word: window[word] for word in ("kernel_shape", "strides", "pads")}
            node = node_of("Conv", [read, f"{name}.weight"], [*node.output], name=name, group=count, **window)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _counts_padding(window: Mapping[str, Any]) -> bool:
    return bool(window["count_include_pad"]) and not window["ceil_mode"]


def _calibrated(onnx: Any, model: Any, images: Iterable[np.ndarray]) -> dict[str, Seen]:
    """What each tensor to round looks like on `images`."""
    names = _to_round(model.graph)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    runtime = import_onnxruntime()
    session = runtime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = {name: Seen() for name in names}
    for image in images:
        for name, array in zip(names, session.run(names, {"image": image})):
            seen[name].add(array)
    return seen


def _to_round(graph: Any) -> list[str]:
    """The names of all tensors that one of the `KINDS` reads or writes; a ReLU is part of what it follows."""
    constants = {tensor.name for tensor in graph.initializer}
    users: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node.op_type)
    names: dict[str, None] = {}
    for node in filter(lambda node: _in_integers(node, constants), graph.node):
        outputs = [name for name in node.output if users[name] != ["Relu"]]
        names |= dict.fromkeys(name for name in [*node.input, *outputs] if name not in constants)
    for node in graph.node:  # what lies between floats and integers is rounded
        if "image" in node.input:
            names |= dict.fromkeys(name for name in node.output if users[name] != ["Relu"])
        if node.name == CLASSIFIER:
            names |= dict.fromkeys(node.input)
    return [*names]


def _in_integers(node: Any, constants: set[str]) -> bool:
    if "image" in node.input or node.name == CLASSIFIER or node.op_type not in KINDS:
        return False
    return node.op_type == "Conv" or not constants & {*node.input}


class _Rounding:
    """The nodes and tensors of the INT8 graph as they are added."""

    def __init__(self, onnx: Any, model: Any, seen: dict[str, Seen]):
        self.onnx = onnx
        self.model = model
        self.seen = seen
        self.floats = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.tensors: dict[str, np.ndarray] = dict(self.floats)
        self.nodes: list[Any] = []

    def run(self) -> Any:
        constants = {*self.floats}
        for node in [*self.model.graph.node]:
            if node.op_type == "Pad":
                self.pad(node)
                continue
            if _in_integers(node, constants) and node.op_type == "Conv":
                self.round_weights(node)
            for number, name in enumerate(node.input):
                if name in self.seen:
                    node.input[number] = f"{name}.rounded"
            self.nodes.append(node)
            for name in node.output:
                if name in self.seen:
                    self.round(name)
        return self.written()

    def round(self, name: str) -> None:
        scale = [self.tensor(f"{name}.scale", self.seen[name].scale), self.tensor(f"{name}.zero", self.seen[name].zero)]
        self.node("QuantizeLinear", [name, *scale], f"{name}.quantized")
        self.node("DequantizeLinear", [f"{name}.quantized", *scale], f"{name}.rounded")

    def pad(self, node: Any) -> None:
        """Of integers, which are copied: what is rounded already is rounded no second time."""
        read, padded = node.input[0], node.output[0]
        self.node("Pad", [f"{read}.quantized", node.input[1]], f"{padded}.quantized", mode="edge")
        scale = [f"{read}.scale", f"{read}.zero"]
        self.node("DequantizeLinear", [f"{padded}.quantized", *scale], f"{padded}.rounded")

    def round_weights(self, node: Any) -> None:
        """Weights in int8, a scale for each output channel, and the bias in int32 with what their rounding shifts."""
        weight, read = self.floats[node.input[1]], self.seen[node.input[0]]
        axes = tuple(range(1, weight.ndim))
        scale = np.maximum(np.abs(weight).max(axes), 1e-12).astype(np.float32) / np.float32(127)
        shaped = scale.reshape(-1, *[1] * len(axes))
        rounded = np.round(weight / shaped).astype(np.int8)
        bias = self.floats[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
        bias = bias - _shift(rounded * shaped - weight, read.mean)
        step = scale * read.scale
        del node.input[1:]
        node.input.append(self.constant(f"{node.name}.int8.weight", rounded, scale))
        node.input.append(self.constant(f"{node.name}.int8.bias", np.round(bias / step).astype(np.int32), step))

    def constant(self, name: str, array: np.ndarray, scale: np.ndarray) -> str:
        inputs = [
            self.tensor(name, array),
            self.tensor(f"{name}.scale", scale),
            self.tensor(f"{name}.zero", np.zeros(len(scale), array.dtype)),
        ]
        return self.node("DequantizeLinear", inputs, f"{name}.exact", axis=0)

    def tensor(self, name: str, array: np.ndarray) -> str:
        self.tensors[name] = array
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def written(self) -> Any:
        graph = self.model.graph
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        from_array = self.onnx.numpy_helper.from_array
        graph.initializer.extend(from_array(array, name) for name, array in self.tensors.items() if name in used)
        return self.model


def _shift(error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """By how much an `error` of the weights shifts each output channel's mean (arXiv 1906.04721, section 4.2)."""
    if np.ndim(mean) == 0:
        return np.zeros(len(error), np.float32)
    each = error.sum(axis=(2, 3)) if error.ndim == 4 else error  # (out, in / groups)
    groups = len(mean) // each.shape[1]
    per_group = each.reshape(groups, len(each) // groups, -1)
    return np.einsum("goi,gi->go", per_group, np.asarray(mean).reshape(groups, -1)).reshape(-1)
