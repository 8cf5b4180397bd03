"""What a segmentation head is built of: units of convolution and norm, poolings, and where they stand.

The heads are mmsegmentation's, under its names (FCN, PSPNet, DeepLabV3, DeepLabV3+);
`resnest.specs.segmentation.network` puts them on a backbone. sssegmentation's differ in two places, which are
fields here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from resnest.specs.blocks import ConvSpec, Layer


@dataclass(frozen=True)
class SeparableSpec:
    """A 3x3 convolution of each channel on its own, and a 1x1 convolution over all of them."""

    in_channels: int
    out_channels: int
    dilation: int = 1
    bias: bool = False

    @property
    def depthwise(self) -> ConvSpec:
        channels = self.in_channels
        return ConvSpec(channels, channels, 3, dilation=self.dilation, groups=channels, bias=self.bias)

    @property
    def pointwise(self) -> ConvSpec:
        return ConvSpec(self.in_channels, self.out_channels, bias=self.bias)


class Unit(NamedTuple):
    """A convolution, plain or separable, with a norm and a ReLU after each part of it.

    In the deploy form the convolution has a bias, and no norm follows. `scale` is the side in pixels of the
    map that it sees: 0 where that is the head's input, -1 where it is the finer map that DeepLabV3+ decodes at.
    """

    name: str
    conv: ConvSpec | SeparableSpec
    scale: int = 0

    def layers(self, prefix: str) -> Iterator[Layer]:
        name = f"{prefix}.{self.name}"
        if isinstance(self.conv, ConvSpec):
            yield _with_norm(name, self.conv)
        else:
            yield _with_norm(f"{name}.depthwise_conv", self.conv.depthwise)
            yield _with_norm(f"{name}.pointwise_conv", self.conv.pointwise)


def _with_norm(name: str, conv: ConvSpec) -> Layer:
    return Layer(f"{name}.conv", conv, None if conv.bias else f"{name}.bn")


FINE = -1
"""The scale of the finer map."""

CLASSIFIER_STD = 0.01
"""A fresh classifier's weights are drawn from N(0, this squared) and its bias is zero, as mmsegmentation's, so that
training starts from even odds."""


@dataclass(frozen=True)
class HeadSpec:
    """What all heads have: from `in_channels` over `channels` to the logits of `num_classes`.

    `dropout` is the share of `channels` that training drops before the classifier; `deploy` says that every batch
    norm is folded into the convolution before it.
    """

    in_channels: int
    channels: int
    num_classes: int
    dropout: float
    deploy: bool = False

    @property
    def classifier(self) -> ConvSpec:
        return ConvSpec(self.channels, self.num_classes, bias=True)

    @property
    def classifier_scale(self) -> int:
        return 0

    def units(self) -> Iterator[Unit]:
        """Every unit, in checkpoint order."""
        raise NotImplementedError

    def layers(self, prefix: str) -> Iterator[Layer]:
        """Every convolution, in checkpoint order: the classifier comes first there."""
        yield Layer(f"{prefix}.conv_seg", self.classifier, None)
        for unit in self.units():
            yield from unit.layers(prefix)


@dataclass(frozen=True)
class FCNSpec(HeadSpec):
    """`num_convs` 3x3 convolutions; where it `joins_input`, one more over their output joined with their input."""

    num_convs: int = 2
    joins_input: bool = True

    @property
    def convs(self) -> list[ConvSpec]:
        inputs = [self.in_channels] + [self.channels] * (self.num_convs - 1)
        return [ConvSpec(channels, self.channels, 3, bias=self.deploy) for channels in inputs]

    @property
    def join(self) -> ConvSpec | None:
        if not self.joins_input:
            return None
        return ConvSpec(self.in_channels + self.channels, self.channels, 3, bias=self.deploy)

    def units(self) -> Iterator[Unit]:
        for index, conv in enumerate(self.convs):
            yield Unit(f"convs.{index}", conv)
        if self.join is not None:
            yield Unit("conv_cat", self.join)


@dataclass(frozen=True)
class PSPSpec(HeadSpec):
    """The input joined with itself pooled to a few sizes (arXiv 1612.01105)."""

    pool_scales: tuple[int, ...] = (1, 2, 3, 6)

    @property
    def pooled(self) -> ConvSpec:
        return ConvSpec(self.in_channels, self.channels, bias=self.deploy)

    @property
    def bottleneck(self) -> ConvSpec:
        joined = self.in_channels + len(self.pool_scales) * self.channels
        return ConvSpec(joined, self.channels, 3, bias=self.deploy)

    def units(self) -> Iterator[Unit]:
        for index, scale in enumerate(self.pool_scales):
            yield Unit(f"psp_modules.{index}.1", self.pooled, scale)
        yield Unit("bottleneck", self.bottleneck)


@dataclass(frozen=True)
class ASPPSpec(HeadSpec):
    """The input seen at several dilations, joined with its mean (arXiv 1706.05587).

    The mean stands first among what is joined, or last (`pooled_first` False).
    """

    dilations: tuple[int, ...] = (1, 12, 24, 36)
    pooled_first: bool = True

    @property
    def pooled(self) -> ConvSpec:
        return ConvSpec(self.in_channels, self.channels, bias=self.deploy)

    @property
    def branches(self) -> list[ConvSpec | SeparableSpec]:
        return [self.branch(dilation) if dilation > 1 else self.pooled for dilation in self.dilations]

    def branch(self, dilation: int) -> ConvSpec | SeparableSpec:
        return ConvSpec(self.in_channels, self.channels, 3, dilation=dilation, bias=self.deploy)

    @property
    def bottleneck(self) -> ConvSpec:
        return ConvSpec((len(self.dilations) + 1) * self.channels, self.channels, 3, bias=self.deploy)

    def units(self) -> Iterator[Unit]:
        yield Unit("image_pool.1", self.pooled, 1)
        for index, branch in enumerate(self.branches):
            yield Unit(f"aspp_modules.{index}", branch)
        yield Unit("bottleneck", self.bottleneck)


@dataclass(frozen=True)
class SeparableASPPSpec(ASPPSpec):
    """The same with separable convolutions, decoded beside a finer map of `fine_in_channels` (arXiv 1802.02611)."""

    fine_in_channels: int = 256
    fine_channels: int = 48

    @property
    def classifier_scale(self) -> int:
        return FINE

    def branch(self, dilation: int) -> SeparableSpec:
        return SeparableSpec(self.in_channels, self.channels, dilation, bias=self.deploy)

    @property
    def fine(self) -> ConvSpec:
        return ConvSpec(self.fine_in_channels, self.fine_channels, bias=self.deploy)

    @property
    def decoder(self) -> list[SeparableSpec]:
        inputs = [self.channels + self.fine_channels, self.channels]
        return [SeparableSpec(channels, self.channels, bias=self.deploy) for channels in inputs]

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        yield Unit("c1_bottleneck", self.fine, FINE)
        for index, conv in enumerate(self.decoder):
            yield Unit(f"sep_bottleneck.{index}", conv, FINE)
