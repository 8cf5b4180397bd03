"""What every ResNeSt is, in plain Python: no arrays, no framework.

A `ResNeStSpec` holds the few numbers that tell one variant from another; everything else,
from the groups of a convolution to the order of the tensors in a checkpoint, is derived
here, once, and read by both backends, the converter, the cost model and the tests.

Source: "ResNeSt: Split-Attention Networks", arXiv 2004.08955, and the checkpoints that its
authors published.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from resnest.specs.blocks import (
    ACTIVATIONS,
    GLOBAL_POOLS,
    NORM_EPS,
    NORM_MOMENTUM,
    STEM_POOL,
    BlockSpec,
    ConvSpec,
    Layer,
    PoolSpec,
    SplitAttentionSpec,
    check_norms,
    check_positive,
    tensor_shapes,
)
from resnest.specs.cost import Cost, LayerCost, block_costs, convolution_costs, pooled, trained_parameters

EXPANSION = 4
"""Output channels of a block over the planes of its stage."""

STAGE_PLANES = (64, 128, 256, 512)
"""Planes of stages 1 to 4; `bottleneck_width` is counted at 64 of them."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's RGB in [0, 1], as published."""

DILATED_POOLING = ("authors", "openmmlab", "detectron2")
"""Whose way of dilating a stage there is."""

BICUBIC_FROM = 320
"""The size from which the authors' Gluon scripts crop before they resize, and resize bicubically."""


@dataclass(frozen=True)
class ResNeStSpec:
    """The numbers that tell one ResNeSt from another.

    `name` is the variant the spec started from; `output_stride` is the input's size over the
    last feature map's (32, or 16 and 8 where late stages are dilated instead of strided);
    `dilated_pooling` says whether a dilated stage keeps the 3x3 pooling of a strided one
    ("authors") or has none ("openmmlab", as OpenMMLab's and sssegmentation's networks do; "detectron2", as in
    the authors' fork of it, where its first block has the stage's whole dilation too);
    `deploy` says that every batch norm is folded into the convolution before it (`resnest.weights.fold`);
    `num_classes` 0 means a network without a classifier; `image_size` is the side in pixels
    at which the variant was published; `norm_eps` is what every batch norm adds to the variance and
    `norm_momentum` the weight of the newest batch in its running statistics (PyTorch's sense; MXNet
    says 1 - this); `activation` is one of `ACTIVATIONS` and `global_pool` one of `GLOBAL_POOLS`. Raises ValueError,
    naming field and value, where the numbers make no network.
    """

    name: str
    stage_depths: tuple[int, int, int, int]
    radix: int = 2
    cardinality: int = 1
    bottleneck_width: int = 64
    deep_stem: bool = True
    stem_width: int = 32
    avg_down: bool = True
    avd: bool = True
    avd_first: bool = False
    output_stride: int = 32
    dilated_pooling: str = "authors"
    deploy: bool = False
    in_channels: int = 3
    num_classes: int = 1000
    image_size: int = 224
    norm_eps: float = NORM_EPS
    norm_momentum: float = NORM_MOMENTUM
    activation: str = ACTIVATIONS[0]
    global_pool: str = GLOBAL_POOLS[0]

    def __post_init__(self) -> None:
        if len(self.stage_depths) != len(STAGE_PLANES):
            raise ValueError(f"stage_depths={self.stage_depths!r} must hold one depth for each of four stages")
        for depth in self.stage_depths:
            check_positive("stage_depths", depth)
        object.__setattr__(self, "stage_depths", tuple(self.stage_depths))
        for field in ("radix", "cardinality", "bottleneck_width", "stem_width", "in_channels", "image_size"):
            check_positive(field, getattr(self, field))
        for field in ("deep_stem", "avg_down", "avd", "avd_first", "deploy"):
            if not isinstance(getattr(self, field), bool):
                raise ValueError(f"{field}={getattr(self, field)!r} must be True or False")
        if self.output_stride not in _STAGE_STRIDES:
            raise ValueError(f"output_stride={self.output_stride!r} must be 32, 16 or 8")
        if self.dilated_pooling not in DILATED_POOLING:
            raise ValueError(f"dilated_pooling={self.dilated_pooling!r} must be one of {', '.join(DILATED_POOLING)}")
        if self.num_classes != 0:
            check_positive("num_classes", self.num_classes, ", or 0 for no classifier")
        check_norms(self.norm_eps, self.norm_momentum)
        for field, known in (("activation", ACTIVATIONS), ("global_pool", GLOBAL_POOLS)):
            if getattr(self, field) not in known:
                raise ValueError(f"{field}={getattr(self, field)!r} must be one of {', '.join(map(repr, known))}")
        if self.num_classes and not self.global_pool:
            raise ValueError("global_pool='' leaves feature maps, which no classifier takes: give num_classes=0 too")
        for block in self.blocks():  # a block that cannot be cut into groups says so here
            del block

    @property
    def stem_channels(self) -> int:
        return 2 * self.stem_width if self.deep_stem else STAGE_PLANES[0]

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of the stem's and of each stage's feature map."""
        return (self.stem_channels, *(planes * EXPANSION for planes in STAGE_PLANES))

    @property
    def pooled_channels(self) -> int:
        """Numbers that the global pooling makes of an image."""
        return self.feature_channels[-1] * (2 if self.global_pool == "catavgmax" else 1)

    @property
    def feature_strides(self) -> tuple[int, ...]:
        """Input pixels per pixel of the stem's and of each stage's feature map."""
        strides = [4]
        for stride, _ in _STAGE_STRIDES[self.output_stride]:
            strides.append(strides[-1] * stride)
        return tuple(strides)

    @property
    def minimum_size(self) -> int:
        """The smallest height and width at which every pooling window fits into its input."""
        # A 2x2 shortcut pool needs two pixels of a map whose stride is the one before it.
        strided = [before for before, after in zip(self.feature_strides, self.feature_strides[1:]) if after > before]
        return strided[-1] + 1 if strided and self.avg_down else 1

    def check_size(self, height: int, width: int) -> None:
        """Raise ValueError where an image of this size is too small for the network."""
        if min(height, width) < self.minimum_size:
            raise ValueError(
                f"an image of {height}x{width} pixels is too small for {self.name}"
                f" at output stride {self.output_stride}: give at least {self.minimum_size}x{self.minimum_size}"
            )

    def stem(self) -> tuple[Layer, ...]:
        """The stem's convolutions; `STEM_POOL` follows them and ends the stem."""

        width = self.stem_width
        conv = partial(ConvSpec, bias=self.deploy)
        layers: tuple[Layer, ...] = (
            Layer("conv1.0", conv(self.in_channels, width, 3, stride=2), "conv1.1"),
            Layer("conv1.3", conv(width, width, 3), "conv1.4"),
            Layer("conv1.6", conv(width, 2 * width, 3), "bn1"),
        )
        if not self.deep_stem:
            layers = (Layer("conv1", conv(self.in_channels, self.stem_channels, 7, stride=2), "bn1"),)
        return tuple(layer._replace(norm=None) for layer in layers) if self.deploy else layers

    def blocks(self) -> Iterator[BlockSpec]:
        """Every residual block, first to last."""
        in_channels = self.stem_channels
        count, last = 0, max(sum(self.stage_depths) - 1, 1)
        for stage, (planes, depth) in enumerate(zip(STAGE_PLANES, self.stage_depths), start=1):
            stride, dilation = _STAGE_STRIDES[self.output_stride][stage - 1]
            for index in range(depth):
                first = index == 0
                yield self._block(
                    stage,
                    index,
                    planes,
                    in_channels,
                    stride=stride if first else 1,
                    # The first block still sees its input at the previous stage's dilation.
                    dilation=max(dilation // 2, 1) if first and self.dilated_pooling != "detectron2" else dilation,
                    depth=count / last,
                )
                in_channels = planes * EXPANSION
                count += 1

    def _block(
        self, stage: int, index: int, planes: int, in_channels: int, stride: int, dilation: int, depth: float
    ) -> BlockSpec:
        first = index == 0
        group_width = planes * self.bottleneck_width // STAGE_PLANES[0] * self.cardinality
        check_positive(f"bottleneck_width={self.bottleneck_width!r} gives a group width that", group_width)
        pools = self.avd and first and stage > 1 and (stride > 1 or self.dilated_pooling == "authors")
        pool = PoolSpec(3, stride, padding=1) if pools else None
        projection_pool = PoolSpec(stride, stride, ceil_mode=True, count_include_pad=False)
        projection = ConvSpec(in_channels, planes * EXPANSION, stride=1 if self.avg_down else stride, bias=self.deploy)
        return BlockSpec(
            stage,
            index,
            in_channels,
            planes * EXPANSION,
            stride,
            SplitAttentionSpec(
                group_width,
                self.radix,
                self.cardinality,
                stride=1 if pool else stride,
                dilation=dilation,
                deploy=self.deploy,
                activation=self.activation,
            ),
            pool_before=pool if self.avd_first else None,
            pool_after=None if self.avd_first else pool,
            projection=projection if first else None,
            projection_pool=projection_pool if first and self.avg_down else None,
            depth=depth,
        )

    def layers(self) -> Iterator[Layer]:
        """Every convolution, with the batch norm that follows it if one does, in checkpoint order."""
        yield from self.stem()
        for block in self.blocks():
            yield from block.layers()

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape of every tensor, in checkpoint order."""
        shapes = tensor_shapes(self.layers())
        if self.num_classes:
            shapes["fc.weight"] = (self.num_classes, self.pooled_channels)
            shapes["fc.bias"] = (self.num_classes,)
        return shapes

    def cost(self, height: int, width: int | None = None) -> Cost:
        """Parameters, multiply-accumulates, activations and stage shapes for one image.

        `height` and `width` are pixels; without a width the image is square. Raises ValueError
        where the image is too small for the network.
        """
        image = size = height, height if width is None else width
        self.check_size(*size)
        layers: list[LayerCost] = []
        for layer in self.stem():
            layers += convolution_costs(layer, size)
            size = layers[-1].size
        size = pooled(size, STEM_POOL)
        stages = {"stem": (self.stem_channels, *size)}
        for block in self.blocks():
            layers += block_costs(block, size)
            size = layers[-1].size
            stages[f"layer{block.stage}"] = (block.out_channels, *size)
        channels = self.pooled_channels
        if self.global_pool:
            layers.append(LayerCost("avgpool", "global_pool", (channels,), channels * prod(size)))
        if self.num_classes:
            layers.append(LayerCost("fc", "linear", (self.num_classes,), channels, macs=channels * self.num_classes))
        return Cost(*image, trained_parameters(self.tensors()), stages, tuple(layers))

    def norm_pixels(self, height: int, width: int) -> dict[str, int]:
        """Name of each batch norm -> the pixels of one image that it sees in training."""
        return self.cost(height, width).norm_pixels

    def at_stride(self, output_stride: int) -> ResNeStSpec:
        """The same network at another output stride."""
        return dataclasses.replace(self, output_stride=output_stride)

    def in_form(self, deploy: bool) -> ResNeStSpec:
        """The same network with its batch norms folded, or not."""
        return dataclasses.replace(self, deploy=deploy)

    def fitted(self, found: ResNeStSpec) -> ResNeStSpec:
        """The same network for as many classes and input channels as `found`, and in its form."""
        alike = {field: getattr(found, field) for field in ("num_classes", "in_channels", "deploy")}
        return dataclasses.replace(self, **alike)

    def resized(self, shapes: Mapping[str, tuple[int, ...]]) -> ResNeStSpec:
        """The same network for the input channels and classes that canonical tensors of these shapes have."""
        in_channels = shapes[f"{self.stem()[0].name}.weight"][1]
        num_classes = shapes.get("fc.weight", (self.num_classes,))[0] if self.num_classes else 0
        return dataclasses.replace(self, in_channels=in_channels, num_classes=num_classes)

    def renormed(self, **numbers: Any) -> ResNeStSpec:
        """The same network with other `norm_eps` or `norm_momentum`; None leaves one as it is."""
        return dataclasses.replace(self, **{field: value for field, value in numbers.items() if value is not None})

    def without_dropout(self) -> ResNeStSpec:
        """The same network, dropping nothing in training: dropout is no part of this spec."""
        return self


# Stride and dilation of stages 1 to 4, by output stride.
_STAGE_STRIDES = {
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
}


def check_out_indices(out_indices: int | Sequence[int], word: str = "out_indices") -> list[int]:
    """The indices that are asked for, each from 0 (the stem) to 4 (stage 4), in the order that they are asked in.

    A number asks for so many of the last maps, and an index below 0 counts from the last. Raises ValueError,
    which calls them by the caller's `word`, for one that there is not, for one twice and for what is no number.
    """
    count = len(STAGE_PLANES) + 1
    try:
        asked = range(-out_indices, 0) if isinstance(out_indices, int) else map(operator.index, out_indices)
        indices = [index + count if index < 0 else index for index in asked]
    except TypeError:
        indices = []
    if not indices or len(set(indices)) < len(indices) or not set(indices) <= set(range(count)):
        raise ValueError(
            f"{word}={out_indices!r} must be different numbers out of 0 (the stem) to 4 (stage 4) or of -5 to -1, or"
            " how many of the last, 1 to 5"
        )
    return indices
