"""What heads are built of: a convolution, plain or separable, with its norm and ReLU, and bilinear resizing."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnest.specs.blocks import ConvSpec
from resnest.specs.segmentation.heads import SeparableSpec
from resnest.torch.layers.basic import BatchNorm, NormLayer, conv2d


class ConvInParts(nn.Conv2d):
    """A convolution, added up over parts of its input channels: see `resnest.specs.blocks.LONGEST_SUM`."""

    def __init__(self, *args: Any, parts: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        size = -(-self.in_channels // parts)
        self.parts = -(-self.in_channels // size)  # as many as `chunk` makes, known without asking what is traced

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.chunk(self.parts, dim=1)
        weights = self.weight.chunk(self.parts, dim=1)
        out = F.conv2d(inputs[0], weights[0], self.bias, self.stride, self.padding, self.dilation)
        for part in range(1, self.parts):
            out = out + F.conv2d(inputs[part], weights[part], None, self.stride, self.padding, self.dilation)
        return out


class ConvUnit(nn.Module):
    """A convolution, a norm and a ReLU."""

    def __init__(self, conv: ConvSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__()
        self.conv = conv2d(conv) if conv.parts == 1 else conv2d(conv, partial(ConvInParts, parts=conv.parts))
        self.bn = norm_layer(conv.out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class SeparableUnit(nn.Module):
    """A unit of a convolution over each channel on its own, and one of a 1x1 convolution."""

    def __init__(self, conv: SeparableSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__()
        self.depthwise_conv = ConvUnit(conv.depthwise, norm_layer)
        self.pointwise_conv = ConvUnit(conv.pointwise, norm_layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


def unit(conv: ConvSpec | SeparableSpec, norm_layer: NormLayer = BatchNorm) -> nn.Module:
    return ConvUnit(conv, norm_layer) if isinstance(conv, ConvSpec) else SeparableUnit(conv, norm_layer)


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """The means over a grid of `output_size` x `output_size` cells, which ONNX takes with open sizes too."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102  # TorchScript needs an `if` of its own to leave it out
            if torch.onnx.is_in_onnx_export() and self.output_size != 1:
                return self.forward_open(x)
        return F.adaptive_avg_pool2d(x, self.output_size)

    def forward_open(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        rows, columns = (_cells(side, self.output_size, x) for side in (height, width))
        return rows @ x @ columns.T


def _cells(side: int, number: Any, like: Tensor) -> Tensor:
    """What each of `number` cells takes of each of `side` pixels, (number, side)."""
    cells = torch.arange(number, device=like.device)[:, None]
    first, stop = cells * side // number, ((cells + 1) * side + number - 1) // number
    pixels = torch.arange(side, device=like.device)
    inside = (pixels >= first) & (pixels < stop)
    return inside.to(like.dtype) / (stop - first)


def pooled_unit(scale: int, conv: ConvSpec, norm_layer: NormLayer = BatchNorm) -> nn.Module:
    """A unit on the input pooled to `scale` x `scale` pixels."""
    return nn.Sequential(AdaptiveAvgPool2d(scale), ConvUnit(conv, norm_layer))


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the height and width of `like`, bilinear, pixels taken as squares (`align_corners=False`)."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
