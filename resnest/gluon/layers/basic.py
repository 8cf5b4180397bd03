"""How MXNet Gluon spells the spec's convolutions, poolings and norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from resnest.gluon._mxnet import mx
from resnest.specs.blocks import NORM_EPS, NORM_MOMENTUM, ConvSpec, PoolSpec
from resnest.specs.resnest import ResNeStSpec

nn = mx.gluon.nn
Identity = mx.gluon.contrib.nn.Identity

NormLayer = Callable[..., Any]
"""Builds the norm, given `in_channels`: `nn.BatchNorm`, `contrib.nn.SyncBatchNorm`, ..."""

BatchNorm = partial(nn.BatchNorm, epsilon=NORM_EPS, momentum=1 - NORM_MOMENTUM)

ONE_VALUE = (
    "batch norm would see one value per channel: in training, split attention pools an image to one pixel, so a"
    " batch of one image has no variance. Predict outside autograd.record(), give a batch of at least two on each"
    " device, or build the model with use_global_stats=True or another norm_layer, such as"
    " gluon.contrib.nn.SyncBatchNorm over several devices or a group norm"
)


class GELU(mx.gluon.HybridBlock):
    """x times the normal distribution's share below x. MXNet's own computes it with constants of float32."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return x * (0.5 + 0.5 * F.erf(x * 0.5**0.5))


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": partial(nn.Activation, "relu"),
    "silu": nn.Swish,
    "gelu": GELU,
}
"""The spec's word -> the layer."""


def activation(name: str) -> Any:
    """The layer that the spec calls `name`."""
    return ACTIVATIONS[name]()


def check_batch(x: Any, norm: Any) -> None:
    """Raise ValueError where `norm` would see one value per channel of the batch `x`.

    MXNet itself would go on with a variance of zero. A symbol has no shape, so a hybridized
    network is checked where the array enters it.
    """
    if not isinstance(x, mx.nd.NDArray) or x.shape[0] != 1 or not mx.autograd.is_training():
        return
    # SyncBatchNorm, a subclass, counts the images of all devices.
    if type(norm) is nn.BatchNorm and not norm._kwargs["use_global_stats"]:
        raise ValueError(ONE_VALUE)


def norm_after(deploy: bool, norm_layer: NormLayer) -> NormLayer:
    """`norm_layer`, or Identity in the deploy form, whose convolutions hold their norms."""
    return (lambda **_: Identity()) if deploy else norm_layer


def norm_of(spec: ResNeStSpec, norm_layer: NormLayer) -> NormLayer:
    """`norm_layer` as a network of this `spec` has it: told the epsilon and momentum that are not the usual ones."""
    told = {"epsilon": (spec.norm_eps, NORM_EPS), "momentum": (1 - spec.norm_momentum, 1 - NORM_MOMENTUM)}
    changed = {word: value for word, (value, usual) in told.items() if value != usual}
    return norm_after(spec.deploy, partial(norm_layer, **changed) if changed else norm_layer)


def norm_numbers(norm: Any) -> dict[str, Any]:
    """The fields of a spec that say what `norm` computes with, as far as it has them."""
    held = getattr(norm, "_kwargs", {})
    numbers = {"norm_eps": held["eps"]} if "eps" in held else {}
    if "momentum" in held:
        numbers["norm_momentum"] = round(1 - held["momentum"], 12)  # 1 - 0.9 is not 0.1
    return numbers


def conv2d(conv: ConvSpec, layer: Callable[..., Any] = nn.Conv2D, std: float | None = None) -> Any:
    """The convolution; its weight is drawn from N(0, 2 / fan-out), as the authors' code does, or with `std`."""
    drawn = mx.init.MSRAPrelu("out", slope=0) if std is None else mx.init.Normal(std)
    return layer(
        conv.out_channels,
        conv.kernel_size,
        strides=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        use_bias=conv.bias,
        in_channels=conv.in_channels,
        weight_initializer=drawn,
    )


def avg_pool2d(pool: PoolSpec | None) -> Any:
    """The pooling, or Identity where there is nothing to pool."""
    if pool is None or pool.kernel_size == 1:
        return Identity()
    return nn.AvgPool2D(
        pool.kernel_size,
        strides=pool.stride,
        padding=pool.padding,
        ceil_mode=pool.ceil_mode,
        count_include_pad=pool.count_include_pad,
    )


def max_pool2d(pool: PoolSpec) -> Any:
    return nn.MaxPool2D(pool.kernel_size, strides=pool.stride, padding=pool.padding)


def sequential(blocks: Sequence[Any]) -> Any:
    """The blocks one after the other."""
    sequence = nn.HybridSequential()
    sequence.add(*blocks)
    return sequence
