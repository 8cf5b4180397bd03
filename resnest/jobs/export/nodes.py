"""An ONNX graph as it is put together: nodes, constants, and the layers of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.specs.blocks import NORM_TENSORS, ConvSpec, Layer, PoolSpec


class Graph:
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
        """A node of this ONNX operator, called `name` as its one output is."""
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def tensor(self, name: str, array: np.ndarray | None = None) -> str:
        """A constant called `name`; without an array it is the weight of that name."""
        array = self.weights[name] if array is None else array
        self.initializers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def numbers(self, name: str, values: list[int]) -> str:
        """A constant of whole numbers, int64, as shapes and axes are."""
        return self.tensor(name, np.array(values, np.int64))

    def reshape(self, name: str, x: str, shape: tuple[int, ...]) -> str:
        """x in another shape; 0 keeps the size of an axis, and -1 is what is left."""
        return self.node("Reshape", name, x, self.numbers(f"{name}.shape", list(shape)))

    def add(self, name: str, parts: list[str]) -> str:
        """The sum of `parts`; one part is its own."""
        total = parts[0]
        for number, part in enumerate(parts[1:], 1):
            total = self.node("Add", f"{name}.{number}", total, part)
        return total

    def sum(self, name: str, x: str, axis: int) -> str:
        """The sum over an axis, which is gone then."""
        return self.node("ReduceSum", name, x, self.numbers(f"{name}.axis", [axis]), keepdims=0)

    def split(self, name: str, x: str, parts: int) -> list[str]:
        """So many equal `parts` of the channels of x, (N, C, H, W)."""
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
        """What the `pool`, an operator of this `kind`, makes of x; x itself where nothing is pooled."""
        if pool is None or pool.kernel_size == 1:
            return x
        attributes: dict[str, Any] = {"ceil_mode": int(pool.ceil_mode)}
        if kind == "AveragePool":
            attributes["count_include_pad"] = int(pool.count_include_pad)
        window = {"kernel_shape": [pool.kernel_size] * 2, "strides": [pool.stride] * 2, "pads": [pool.padding] * 4}
        return self.node(kind, name, x, **window, **attributes)
