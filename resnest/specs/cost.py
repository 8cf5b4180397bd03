"""What a layer, a block or a whole network costs for one image: exact counts, without a framework.

A spec walks its own layers and adds these rows up to a `Cost`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

from resnest.specs.blocks import BlockSpec, ConvSpec, Layer, PoolSpec

Size = tuple[int, int]
"""Height and width in pixels."""

Kind = Literal["conv", "norm", "pool", "global_pool", "linear"]


@dataclass(frozen=True)
class LayerCost:
    """One layer at work on one image. `shape` is its output's: (C, H, W), or (C,) after the pooling."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    inputs: int
    macs: int = 0
    biases: int = 0

    @property
    def outputs(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> Size:
        """Height and width of the output."""
        _, height, width = self.shape
        return height, width


@dataclass(frozen=True)
class Cost:
    """Counts for one image of `height` x `width` pixels.

    `parameters` are the trained ones (running statistics are not). `stages` is the shape
    (C, H, W) of the stem's and of each stage's feature map.
    """

    height: int
    width: int
    parameters: int
    stages: dict[str, tuple[int, int, int]]
    layers: tuple[LayerCost, ...]

    def _total(self, kind: Kind, count: str) -> int:
        return sum(getattr(layer, count) for layer in self.layers if layer.kind == kind)

    @property
    def conv_macs(self) -> int:
        return self._total("conv", "macs")

    @property
    def conv_biases(self) -> int:
        """Additions of a convolution's bias, one per output element."""
        return self._total("conv", "biases")

    @property
    def norm_elements(self) -> int:
        return self._total("norm", "outputs")

    @property
    def norm_pixels(self) -> dict[str, int]:
        """Name of each batch norm -> the pixels of one image that it sees."""
        return {layer.name: prod(layer.size) for layer in self.layers if layer.kind == "norm"}

    @property
    def pool_outputs(self) -> int:
        return self._total("pool", "outputs")

    @property
    def global_pool_inputs(self) -> int:
        return self._total("global_pool", "inputs")

    @property
    def global_pool_outputs(self) -> int:
        return self._total("global_pool", "outputs")

    @property
    def linear_macs(self) -> int:
        return self._total("linear", "macs")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and the classifier: the usual count."""
        return self.conv_macs + self.linear_macs

    @property
    def activations(self) -> int:
        """Elements that convolutions and the classifier put out."""
        return self._total("conv", "outputs") + self._total("linear", "outputs")

    @property
    def model_index_flops(self) -> int:
        """The "FLOPs" of the public model indexes, as the counter they were made with counts them.

        It watched modules, so what is a function call in the published code (activations,
        split attention's own global pooling) counts nothing; nor do the classifier and max pooling.
        """
        return (
            self.conv_macs
            + self.conv_biases
            + 2 * self.norm_elements
            + self.pool_outputs
            + self.global_pool_inputs
            + self.global_pool_outputs
        )


def trained_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The elements of the tensors that training changes by gradients: all but a norm's running statistics."""
    return sum(prod(shape) for name, shape in shapes.items() if ".running_" not in name)


def block_costs(block: BlockSpec, size: Size) -> Iterator[LayerCost]:
    """The block's layers; the last one puts out the block's own shape."""
    conv1, splits, fc1, fc2, conv3, *projection = block.layers()
    if block.projection_pool is not None and block.projection_pool.kernel_size > 1:
        yield pool_cost(f"{block.name}.downsample.0", block.in_channels, size, block.projection_pool)
    for layer in projection:
        seen = size if block.projection_pool is None else pooled(size, block.projection_pool)
        yield from convolution_costs(layer, seen)
    yield from convolution_costs(conv1, size)
    if block.pool_before is not None:
        yield (row := pool_cost(f"{block.name}.pool_before", block.group_width, size, block.pool_before))
        size = row.size
    yield from convolution_costs(splits, size)
    size = convolved(size, splits.conv)
    yield from convolution_costs(fc1, (1, 1))
    yield from convolution_costs(fc2, (1, 1))
    if block.pool_after is not None:
        yield (row := pool_cost(f"{block.name}.pool_after", block.group_width, size, block.pool_after))
        size = row.size
    yield from convolution_costs(conv3, size)


def convolution_costs(layer: Layer, size: Size) -> Iterator[LayerCost]:
    """The convolution and the norm behind it, on an input of `size`."""
    conv = layer.conv
    shape = (conv.out_channels, *convolved(size, conv))
    outputs = prod(shape)
    macs = outputs * prod(conv.shape[1:])
    yield LayerCost(layer.name, "conv", shape, conv.in_channels * prod(size), macs, outputs if conv.bias else 0)
    if layer.norm is not None:
        yield LayerCost(layer.norm, "norm", shape, outputs)


def pool_cost(name: str, channels: int, size: Size, pool: PoolSpec) -> LayerCost:
    """The pooling of an input of `channels` and `size`."""
    return LayerCost(name, "pool", (channels, *pooled(size, pool)), channels * prod(size))


def adaptive_pool_cost(name: str, channels: int, before: Size, after: Size) -> LayerCost:
    """The pooling of an input of size `before` to one of size `after`, whatever windows that takes."""
    kind: Kind = "global_pool" if after == (1, 1) else "pool"
    return LayerCost(f"{name}.pool", kind, (channels, *after), channels * prod(before))


def convolved(size: Size, conv: ConvSpec) -> Size:
    """What `size` becomes by the convolution."""
    reach = conv.dilation * (conv.kernel_size - 1)
    height, width = ((pixels + 2 * conv.padding - reach - 1) // conv.stride + 1 for pixels in size)
    return height, width


def pooled(size: Size, pool: PoolSpec) -> Size:
    """What `size` becomes by the pooling."""
    steps = ((pixels + 2 * pool.padding - pool.kernel_size) / pool.stride for pixels in size)
    height, width = ((ceil(step) if pool.ceil_mode else int(step)) + 1 for step in steps)
    return height, width
