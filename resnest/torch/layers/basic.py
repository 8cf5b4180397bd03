"""How PyTorch spells the spec's convolutions, poolings and norms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnest.specs.blocks import NORM_EPS, NORM_MOMENTUM, ConvSpec, PoolSpec
from resnest.specs.resnest import ResNeStSpec

NormLayer = Callable[[int], nn.Module]
"""Builds the norm for a number of channels: `nn.BatchNorm2d`, `nn.SyncBatchNorm`, ..."""

BatchNorm = partial(nn.BatchNorm2d, eps=NORM_EPS, momentum=NORM_MOMENTUM)


ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
"""The spec's word -> the layer."""


def activation(name: str) -> nn.Module:
    """The layer that the spec calls `name`; it writes over its input where it can."""
    layer = ACTIVATIONS[name]
    return layer() if layer is nn.GELU else layer(inplace=True)


def check_batch(x: Tensor, norm: nn.Module) -> None:
    """Raise ValueError where `norm` would see one value per channel of x, (N, C, 1, 1)."""
    # SyncBatchNorm, which is no BatchNorm2d, counts the images of all processes. What is being traced has no size yet.
    if isinstance(x, Tensor) and norm.training and isinstance(norm, nn.BatchNorm2d) and x.shape[0] == 1:
        raise ValueError(
            "batch norm would see one value per channel: in training, split attention pools an image to one pixel, so a"
            " batch of one image has no variance. Call model.eval(), give a batch of at least two, or build the model"
            " with another norm_layer, such as nn.SyncBatchNorm over several processes or a group norm"
        )


MANY_PIXELS = 125_000
"""From here on, three images of 224 x 224, convolutions on a CPU are faster channels last.

The weights stay contiguous, because FSDP2, safetensors and others refuse others, and PyTorch lays out a copy of those
of 3x3 convolutions in every call. In processes of their own on a 2-core AMD EPYC with AVX-512, of the contiguous time:
one image 1.40 (resnest50) to 0.97, two 1.07 to 0.81, four and more 0.85 to 0.75. On its AVX2 alone, one image of 224
x 224 takes 0.98 to 0.82, one of 288 x 288 0.92 to 0.84.
"""

MANY_PIXELS_IN_GROUPS = 50_000
"""The same of a network of several cardinal groups, one image of 224 x 224.

Convolutions in groups have fewer weights to copy and are slow on contiguous maps. Measured as above, one image takes
0.98 (1s2x40d), 0.87 (2s2x40d), 0.81 (4s2x40d) and 0.89 (1s4x24d) of the contiguous time.
"""


def many_pixels(spec: ResNeStSpec) -> int:
    """How many pixels a batch has from which on the network of this `spec` is faster channels last, on a CPU."""
    return MANY_PIXELS if spec.cardinality == 1 else MANY_PIXELS_IN_GROUPS


def laid_out(images: Tensor, many: int) -> Tensor:
    """`images`, (N, C, H, W), in the memory format in which a network with contiguous weights is fastest.

    On a CPU that is channels last from as `many` pixels on as `many_pixels` says, and all that is computed from them
    is too; elsewhere, and in float64, for which oneDNN has no convolutions, they stay as they are. So they do where a
    graph is made of the network: it takes other sizes too, and who compiles it decides by itself.
    """
    if not torch.jit.is_scripting():  # noqa: SIM102  # see AvgPool2d
        if computed_here(images) and _faster_channels_last(images, many):
            return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # torch.vmap knows no memory_format
    return images


def lying_like(x: Tensor, images: Tensor) -> Tensor:
    """The feature map `x`, contiguous where the `images` that it was computed from are: a caller's `view` needs it."""
    if not torch.jit.is_scripting():  # noqa: SIM102  # see AvgPool2d
        if computed_here(images) and images.is_contiguous():
            return x.contiguous()
    return x


def computed_here(images: Tensor) -> bool:
    """Whether `images` are computed on now, and on a CPU: what torch.fx traces is no tensor."""
    graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return not graph and isinstance(images, Tensor) and images.device.type == "cpu"


def _faster_channels_last(images: Tensor, many: int) -> bool:
    return images.shape[0] * images.shape[2] * images.shape[3] >= many and images.dtype != torch.float64


def norm_after(deploy: bool, norm_layer: NormLayer) -> NormLayer:
    """`norm_layer`, or Identity in the deploy form, whose convolutions hold their norms."""
    return nn.Identity if deploy else norm_layer


def norm_of(spec: ResNeStSpec, norm_layer: NormLayer) -> NormLayer:
    """`norm_layer` as a network of this `spec` has it: told the epsilon and momentum that are not the usual ones."""
    told = {"eps": (spec.norm_eps, NORM_EPS), "momentum": (spec.norm_momentum, NORM_MOMENTUM)}
    changed = {word: value for word, (value, usual) in told.items() if value != usual}
    return norm_after(spec.deploy, partial(norm_layer, **changed) if changed else norm_layer)


def norm_numbers(norm: nn.Module) -> dict[str, Any]:
    """The fields of a spec that say what `norm` computes with, as far as it has them.

    A momentum of None, with which all batches count alike, is what no spec says.
    """
    words = {"norm_eps": "eps", "norm_momentum": "momentum"}
    return {field: getattr(norm, word) for field, word in words.items() if hasattr(norm, word)}


def conv2d(conv: ConvSpec, layer: Callable[..., nn.Conv2d] = nn.Conv2d) -> nn.Conv2d:
    return layer(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=conv.bias,
    )


def avg_pool2d(pool: PoolSpec | None) -> nn.Module:
    """The pooling, or Identity where there is nothing to pool."""
    if pool is None or pool.kernel_size == 1:
        return nn.Identity()
    return AvgPool2d(
        pool.kernel_size,
        stride=pool.stride,
        padding=pool.padding,
        ceil_mode=pool.ceil_mode,
        count_include_pad=pool.count_include_pad,
    )


def max_pool2d(pool: PoolSpec) -> nn.Module:
    return MaxPool2d(pool.kernel_size, stride=pool.stride, padding=pool.padding)


# To export a strided pooling, PyTorch asks whether its input's size divides by the stride, and a
# program with sizes still open then holds for the sizes of the example alone. Pooling at every
# pixel and keeping those of the stride gives the same numbers and asks nothing. TorchScript does
# not know how to ask whether this is an export; it needs an `if` of its own to leave that out.


def every(x: Tensor, stride: Any) -> Tensor:
    """Every pixel of a stride, (N, C, ceil(H / stride), ceil(W / stride)), for programs with sizes left open."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        return x[:, :, ::stride, ::stride]
    # Of a map channels last with gaps PyTorch asks how its strides compare, which the parity of a size decides.
    return x.permute(0, 2, 3, 1)[:, ::stride, ::stride].contiguous().permute(0, 3, 1, 2)


class AvgPool2d(nn.AvgPool2d):
    """Average pooling that `torch.export` takes with height and width left open."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102  # see above
            if torch.compiler.is_exporting() and not isinstance(x.shape[-1], int):
                return self.forward_open(x)
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def forward_open(self, x: Tensor) -> Tensor:
        if self.ceil_mode:  # a 2x2 window that hangs over by one: repeating the last pixel leaves its mean as it is
            x = F.pad(x, (0, 1, 0, 1), mode="replicate")
        return every(F.avg_pool2d(x, self.kernel_size, 1, self.padding), self.stride)


class MaxPool2d(nn.MaxPool2d):
    """Max pooling that `torch.export` takes with height and width left open."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102  # see above
            if torch.compiler.is_exporting() and not isinstance(x.shape[-1], int):
                return every(F.max_pool2d(x, self.kernel_size, 1, self.padding), self.stride)
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


def reset(network: nn.Module) -> None:
    """Have every layer draw its own first values and statistics anew."""
    for module in network.modules():
        draw = getattr(module, "reset_parameters", None)
        if callable(draw):
            draw()


def init_conv2d(module: nn.Module) -> None:
    """Draw a convolution's weight from N(0, 2 / fan-out), as the authors' code does."""
    # On the meta device there is nothing to draw, and PyTorch takes long to find that out.
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
