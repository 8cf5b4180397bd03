"""What detectors have on top of their backbone: the pyramid, the RPN, box and mask heads, under mmdetection's names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from resnest.specs.blocks import ConvSpec, Layer, tensor_shapes

BOX_SIZE = 7
"""Side in pixels of what a box head sees of a region."""

MASK_SIZE = 14
"""The same of a mask head, which gives masks of twice this side."""

SAMPLES = 0
"""Points that RoIAlign takes a bin's mean over, along each side: 0 is as many as the region has pixels there."""

FINEST_REGION = 56
"""Regions up to this many pixels wide and high, and half as much again as often as there are finer maps, are cut out
of the finest map."""

CLASSIFIER_STD = 0.01
REGRESSION_STD = 0.001
RPN_STD = 0.01
"""A fresh head's last layers are drawn from N(0, these squared) and their biases are zero, as mmdetection's."""


class Linear(NamedTuple):
    """A fully connected layer with bias, under its canonical name."""

    name: str
    in_features: int
    out_features: int


HeadLayer = Layer | Linear


def shapes_of(layers: Iterable[HeadLayer]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of `layers`, in checkpoint order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        if isinstance(layer, Layer):
            shapes.update(tensor_shapes([layer]))
        else:
            shapes[f"{layer.name}.weight"] = (layer.out_features, layer.in_features)
            shapes[f"{layer.name}.bias"] = (layer.out_features,)
    return shapes


class NeckSpec(NamedTuple):
    """A feature pyramid (arXiv 1612.03144): maps of `channels` from the backbone's maps of `in_channels`.

    One more map than the backbone has is every second pixel of the coarsest.
    """

    in_channels: tuple[int, ...]
    channels: int

    @property
    def laterals(self) -> list[ConvSpec]:
        return [ConvSpec(channels, self.channels, bias=True) for channels in self.in_channels]

    @property
    def outputs(self) -> list[ConvSpec]:
        return [ConvSpec(self.channels, self.channels, 3, bias=True) for _ in self.in_channels]

    def layers(self, prefix: str) -> Iterator[Layer]:
        for index, conv in enumerate(self.laterals):
            yield Layer(f"{prefix}.lateral_convs.{index}.conv", conv, None)
        for index, conv in enumerate(self.outputs):
            yield Layer(f"{prefix}.fpn_convs.{index}.conv", conv, None)


class RPNSpec(NamedTuple):
    """The region proposal network (arXiv 1506.01497): of each anchor whether it is an object, and its deltas."""

    channels: int
    anchors: int

    @property
    def conv(self) -> ConvSpec:
        return ConvSpec(self.channels, self.channels, 3, bias=True)

    @property
    def classifier(self) -> ConvSpec:
        return ConvSpec(self.channels, self.anchors, bias=True)

    @property
    def regression(self) -> ConvSpec:
        return ConvSpec(self.channels, 4 * self.anchors, bias=True)

    def layers(self, prefix: str) -> Iterator[Layer]:
        yield Layer(f"{prefix}.rpn_conv", self.conv, None)
        yield Layer(f"{prefix}.rpn_cls", self.classifier, None)
        yield Layer(f"{prefix}.rpn_reg", self.regression, None)


def _units(channels: int, number: int, deploy: bool) -> list[ConvSpec]:
    return [ConvSpec(channels, channels, 3, bias=deploy)] * number


class BoxHeadSpec(NamedTuple):
    """`num_convs` 3x3 convolutions and a fully connected layer of `hidden` units over a region's `channels`.

    From there to the logits of `num_classes` and, as the last one, background, and to the deltas of each
    class's box, or where `agnostic` of one box for all classes.
    """

    channels: int
    num_convs: int
    hidden: int
    num_classes: int
    agnostic: bool
    deploy: bool = False

    @property
    def convs(self) -> list[ConvSpec]:
        return _units(self.channels, self.num_convs, self.deploy)

    @property
    def fc(self) -> Linear:
        return Linear("shared_fcs.0", self.channels * BOX_SIZE**2, self.hidden)

    @property
    def classifier(self) -> Linear:
        return Linear("fc_cls", self.hidden, self.num_classes + 1)

    @property
    def regression(self) -> Linear:
        return Linear("fc_reg", self.hidden, 4 if self.agnostic else 4 * self.num_classes)

    def layers(self, prefix: str) -> Iterator[HeadLayer]:
        named = partial(_named, prefix)
        yield named(self.classifier)
        yield named(self.regression)
        yield from _unit_layers(f"{prefix}.shared_convs", self.convs, self.deploy)
        yield named(self.fc)


class MaskHeadSpec(NamedTuple):
    """`num_convs` 3x3 convolutions, a deconvolution to twice the side, and a 1x1 convolution to each class's mask."""

    channels: int
    num_convs: int
    num_classes: int
    deploy: bool = False

    @property
    def convs(self) -> list[ConvSpec]:
        return _units(self.channels, self.num_convs, self.deploy)

    @property
    def upsample(self) -> ConvSpec:
        """A deconvolution: its weight is (in, out, 2, 2), as many channels in as out."""
        return ConvSpec(self.channels, self.channels, 2, stride=2, bias=True)

    @property
    def classifier(self) -> ConvSpec:
        return ConvSpec(self.channels, self.num_classes, bias=True)

    def layers(self, prefix: str) -> Iterator[Layer]:
        yield from _unit_layers(f"{prefix}.convs", self.convs, self.deploy)
        yield Layer(f"{prefix}.upsample", self.upsample, None)
        yield Layer(f"{prefix}.conv_logits", self.classifier, None)


def _named(prefix: str, linear: Linear) -> Linear:
    return linear._replace(name=f"{prefix}.{linear.name}")


def _unit_layers(prefix: str, convs: Iterable[ConvSpec], deploy: bool) -> Iterator[Layer]:
    for index, conv in enumerate(convs):
        yield Layer(f"{prefix}.{index}.conv", conv, None if deploy else f"{prefix}.{index}.bn")
