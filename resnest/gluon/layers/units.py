"""What heads are built of: a convolution, plain or separable, with its norm and ReLU, and bilinear resizing."""

from __future__ import annotations

from functools import partial
from typing import Any

from resnest.data.resize import bilinear_matrix
from resnest.gluon._mxnet import mx
from resnest.gluon.layers.basic import BatchNorm, NormLayer, conv2d, nn, sequential
from resnest.specs.blocks import ConvSpec
from resnest.specs.segmentation.heads import SeparableSpec


class ConvInParts(nn.Conv2D):
    """A convolution, added up over parts of its input channels: see `resnest.specs.blocks.LONGEST_SUM`."""

    def __init__(self, *args: Any, parts: int, in_channels: int, **kwargs: Any):
        super().__init__(*args, in_channels=in_channels, **kwargs)
        size = -(-in_channels // parts)
        self.bounds = [(begin, min(begin + size, in_channels)) for begin in range(0, in_channels, size)]

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        sums = [
            F.Convolution(
                F.slice_axis(x, axis=1, begin=begin, end=end),
                F.slice_axis(weight, axis=1, begin=begin, end=end),
                **{**self._kwargs, "no_bias": True},
            )
            for begin, end in self.bounds
        ]
        out = F.add_n(*sums)
        return out if bias is None else F.broadcast_add(out, F.reshape(bias, (1, -1, 1, 1)))


class ConvUnit(mx.gluon.HybridBlock):
    """A convolution, a norm and a ReLU."""

    def __init__(self, conv: ConvSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv = conv2d(conv) if conv.parts == 1 else conv2d(conv, partial(ConvInParts, parts=conv.parts))
            self.bn = norm_layer(in_channels=conv.out_channels)
            self.relu = nn.Activation("relu")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.relu(self.bn(self.conv(x)))


class SeparableUnit(mx.gluon.HybridBlock):
    """A unit of a convolution over each channel on its own, and one of a 1x1 convolution."""

    def __init__(self, conv: SeparableSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.depthwise_conv = ConvUnit(conv.depthwise, norm_layer)
            self.pointwise_conv = ConvUnit(conv.pointwise, norm_layer)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.pointwise_conv(self.depthwise_conv(x))


def unit(conv: ConvSpec | SeparableSpec, norm_layer: NormLayer = BatchNorm) -> Any:
    return ConvUnit(conv, norm_layer) if isinstance(conv, ConvSpec) else SeparableUnit(conv, norm_layer)


class AdaptiveAvgPool2D(mx.gluon.HybridBlock):
    """The means over a grid of `scale` x `scale` cells."""

    def __init__(self, scale: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = scale

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.contrib.AdaptiveAvgPooling2D(x, output_size=self.scale)


def pooled_unit(scale: int, conv: ConvSpec, norm_layer: NormLayer = BatchNorm) -> Any:
    """A unit on the input pooled to `scale` x `scale` pixels."""
    return sequential([AdaptiveAvgPool2D(scale), ConvUnit(conv, norm_layer)])


def resize_like(x: Any, like: Any) -> Any:
    """`x` at the height and width of `like`, bilinear, pixels taken as squares (`align_corners=False`)."""
    # MXNet's BilinearResize2D computes its weights in float32, 7e-7 off; two matrix products are exact.
    F, (before, after) = operators_for(x), map(_shape, (x, like))
    rows, columns = (_matrix(x, before[axis], after[axis]) for axis in (2, 3))
    x = F.dot(x, columns)  # (N, C, h, W)
    return F.dot(x.transpose(axes=(0, 1, 3, 2)), rows).transpose(axes=(0, 1, 3, 2))


def operators_for(x: Any) -> Any:
    """MXNet's operators for an array, or for a symbol."""
    return mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd


def _shape(x: Any) -> tuple[int, ...]:
    """The shape of an array, or of a symbol as far as that of its data tells it."""
    return x.infer_shape_partial()[1][0] if isinstance(x, mx.sym.Symbol) else x.shape


def _matrix(x: Any, before: int, after: int) -> Any:
    """`bilinear_matrix` beside x; beside a symbol computed in the graph, which holds no arrays, for float32."""
    if not isinstance(x, mx.sym.Symbol):
        return mx.nd.array(bilinear_matrix(before, after), ctx=x.ctx, dtype=x.dtype)
    position = (mx.sym.arange(after, dtype="float64") + 0.5) * (before / after) - 0.5
    position = mx.sym.clip(position, 0, before - 1).reshape((1, -1))
    cells = mx.sym.arange(before, dtype="float64").reshape((-1, 1))
    return mx.sym.relu(1 - mx.sym.abs(mx.sym.broadcast_sub(cells, position))).astype("float32")
