"""What a network costs for one image: exact counts from the spec alone, without a framework."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING, Literal

from resnest.blocks import STEM_POOL, BlockSpec, ConvSpec, Layer, PoolSpec
from resnest.heads import FINE

if TYPE_CHECKING:  # they read this module
    from resnest.segmentation import SegmentationSpec
    from resnest.spec import ResNeStSpec

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


def cost(spec: ResNeStSpec, height: int, width: int) -> Cost:
    """The cost of `spec` for one image of `height` x `width` pixels.

    Raises ValueError where the image is too small for the network.
    """
    spec.check_size(height, width)
    stages: dict[str, tuple[int, int, int]] = {}
    layers: list[LayerCost] = []

    def walk(rows: Iterator[LayerCost]) -> tuple[int, int, int]:
        shape = (0, 0, 0)
        for row in rows:
            layers.append(row)
            if len(row.shape) == 3:
                shape = row.shape
        return shape

    size = height, width
    for layer in spec.stem():
        shape = walk(_convolution(layer, size))
        size = shape[1:]
    size = _pooled(size, STEM_POOL)
    stages["stem"] = (spec.stem_channels, *size)
    for block in spec.blocks():
        shape = walk(_block(block, size))
        size = shape[1:]
        stages[f"layer{block.stage}"] = shape
    channels = spec.feature_channels[-1]
    layers.append(LayerCost("avgpool", "global_pool", (channels,), channels * prod(size)))
    if spec.num_classes:
        layers.append(LayerCost("fc", "linear", (spec.num_classes,), channels, macs=channels * spec.num_classes))
    trained = (shape for name, shape in spec.tensors().items() if ".running_" not in name)
    return Cost(height, width, sum(map(prod, trained)), stages, tuple(layers))


def segmentation_cost(spec: SegmentationSpec, height: int, width: int) -> Cost:
    """The cost of predicting one image of `height` x `width` pixels, up to the logits.

    Raises ValueError where the image is too small for the network.
    """
    backbone = cost(spec.backbone, height, width)
    layers = [replace(row, name=spec.backbone_name(row.name)) for row in backbone.layers if row.name != "avgpool"]
    sizes = {0: backbone.stages["layer4"][1:], FINE: backbone.stages["layer1"][1:]}
    head = spec.decode_head
    for unit in head.units():
        size = sizes.get(unit.scale, (unit.scale, unit.scale))
        if unit.scale > 0:
            layers.append(_adaptive_pool(f"decode_head.{unit.name}", head.in_channels, sizes[0], size))
        for layer in unit.layers("decode_head"):
            layers += _convolution(layer, size)
    layers += _convolution(next(head.layers("decode_head")), sizes[head.classifier_scale])
    trained = (shape for name, shape in spec.tensors().items() if ".running_" not in name)
    logits = (spec.num_classes, *sizes[head.classifier_scale])
    return Cost(height, width, sum(map(prod, trained)), backbone.stages | {"logits": logits}, tuple(layers))


def _block(block: BlockSpec, size: Size) -> Iterator[LayerCost]:
    """The block's layers; the last one puts out the block's own shape."""
    conv1, splits, fc1, fc2, conv3, *projection = block.layers()
    if block.projection_pool is not None and block.projection_pool.kernel_size > 1:
        yield _pool(f"{block.name}.downsample.0", block.in_channels, size, block.projection_pool)
    for layer in projection:
        pooled = size if block.projection_pool is None else _pooled(size, block.projection_pool)
        yield from _convolution(layer, pooled)
    yield from _convolution(conv1, size)
    if block.pool_before is not None:
        yield (row := _pool(f"{block.name}.pool_before", block.group_width, size, block.pool_before))
        size = row.shape[1], row.shape[2]
    yield from _convolution(splits, size)
    size = _convolved(size, splits.conv)
    yield from _convolution(fc1, (1, 1))
    yield from _convolution(fc2, (1, 1))
    if block.pool_after is not None:
        yield (row := _pool(f"{block.name}.pool_after", block.group_width, size, block.pool_after))
        size = row.shape[1], row.shape[2]
    yield from _convolution(conv3, size)


def _convolution(layer: Layer, size: Size) -> Iterator[LayerCost]:
    conv = layer.conv
    shape = (conv.out_channels, *_convolved(size, conv))
    outputs = prod(shape)
    macs = outputs * prod(conv.shape[1:])
    yield LayerCost(layer.name, "conv", shape, conv.in_channels * prod(size), macs, outputs if conv.bias else 0)
    if layer.norm is not None:
        yield LayerCost(layer.norm, "norm", shape, outputs)


def _pool(name: str, channels: int, size: Size, pool: PoolSpec) -> LayerCost:
    return LayerCost(name, "pool", (channels, *_pooled(size, pool)), channels * prod(size))


def _adaptive_pool(name: str, channels: int, before: Size, after: Size) -> LayerCost:
    kind: Kind = "global_pool" if after == (1, 1) else "pool"
    return LayerCost(f"{name}.pool", kind, (channels, *after), channels * prod(before))


def _convolved(size: Size, conv: ConvSpec) -> Size:
    reach = conv.dilation * (conv.kernel_size - 1)
    height, width = ((pixels + 2 * conv.padding - reach - 1) // conv.stride + 1 for pixels in size)
    return height, width


def _pooled(size: Size, pool: PoolSpec) -> Size:
    steps = ((pixels + 2 * pool.padding - pool.kernel_size) / pool.stride for pixels in size)
    height, width = ((ceil(step) if pool.ceil_mode else int(step)) + 1 for step in steps)
    return height, width
