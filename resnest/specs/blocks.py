"""What a ResNeSt is built of: convolutions, poolings, split attention, residual blocks.

Each class says what a layer is, not how a framework spells it; `resnest.specs.resnest` puts them
together into networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

MIN_ATTENTION_CHANNELS = 32
ATTENTION_REDUCTION = 4

NORM_EPS = 1e-5
NORM_MOMENTUM = 0.1
"""The published networks' own: see `ResNeStSpec`."""

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")
"""The tensors of a batch norm, in checkpoint order."""

LONGEST_SUM = 2304
"""Products that a segmentation head adds up in one go. Its 3x3 convolutions over thousands of channels have ten
times as many, and float32 kernels that add them one after the other, as on processors with AVX2, end up 5e-6 off."""

ACTIVATIONS = ("relu", "silu", "gelu")
"""What may stand after a norm; the published networks have ReLU."""

GLOBAL_POOLS = ("avg", "max", "avgmax", "catavgmax", "")
"""How the last feature map becomes numbers: mean, largest, the mean of both, both side by side, or not at all."""

DROPBLOCK_SIZE = 3
DROPBLOCK_STAGES = (3, 4)


@dataclass(frozen=True)
class ConvSpec:
    """One square 2-D convolution, padded so that stride 1 keeps the image's size."""

    in_channels: int
    out_channels: int
    kernel_size: int = 1
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = False

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel_size - 1) // 2

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight: (out, in / groups, height, width)."""
        return self.out_channels, self.in_channels // self.groups, self.kernel_size, self.kernel_size

    @property
    def parts(self) -> int:
        """Into how many parts of its input channels a head cuts this convolution, so that no sum is too long."""
        return -(-self.in_channels * self.kernel_size**2 // (self.groups * LONGEST_SUM))


@dataclass(frozen=True)
class PoolSpec:
    """One average pooling. `ceil_mode` and `count_include_pad` are PyTorch's words for it."""

    kernel_size: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False
    count_include_pad: bool = True


STEM_POOL = PoolSpec(3, 2, padding=1)
"""The max pooling at the end of the stem."""


class Layer(NamedTuple):
    """A convolution under its canonical name, and the batch norm that follows it, if one does."""

    name: str
    conv: ConvSpec
    norm: str | None


def tensor_shapes(layers: Iterable[Layer]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of `layers`, in checkpoint order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, conv, norm in layers:
        shapes[f"{name}.weight"] = conv.shape
        if conv.bias:
            shapes[f"{name}.bias"] = (conv.out_channels,)
        if norm is not None:
            shapes.update({f"{norm}.{tensor}": (conv.out_channels,) for tensor in NORM_TENSORS})
    return shapes


@dataclass(frozen=True)
class SplitAttentionSpec:
    """Split attention over `radix` splits of `channels` channels each (paper, section 3.1).

    `deploy` says that batch norms are folded into the convolutions before them; `activation` is one of
    `ACTIVATIONS`.
    """

    channels: int
    radix: int = 2
    cardinality: int = 1
    stride: int = 1
    dilation: int = 1
    deploy: bool = False
    activation: str = ACTIVATIONS[0]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name not in ("deploy", "activation"):
                check_positive(field.name, getattr(self, field.name))
        if self.channels % (self.cardinality * self.radix):
            raise ValueError(
                f"split attention over {self.channels} channels cannot be cut into "
                f"cardinality * radix = {self.cardinality} * {self.radix} equal groups"
            )
        if self.attention_channels % self.cardinality:
            raise ValueError(
                f"cardinality={self.cardinality} does not divide the {self.attention_channels} attention channels"
                f" of a split attention over {self.channels} channels with radix={self.radix}"
            )

    @property
    def attention_channels(self) -> int:
        """Channels between `fc1` and `fc2`."""
        return max(self.channels * self.radix // ATTENTION_REDUCTION, MIN_ATTENTION_CHANNELS)

    @property
    def conv(self) -> ConvSpec:
        """The 3x3 convolution that computes all splits at once."""
        return ConvSpec(
            self.channels,
            self.channels * self.radix,
            kernel_size=3,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.cardinality * self.radix,
            bias=self.deploy,
        )

    @property
    def fc1(self) -> ConvSpec:
        # Its bias does nothing before a batch norm, but every published checkpoint holds one.
        return ConvSpec(self.channels, self.attention_channels, groups=self.cardinality, bias=True)

    @property
    def fc2(self) -> ConvSpec:
        return ConvSpec(self.attention_channels, self.channels * self.radix, groups=self.cardinality, bias=True)

    def layers(self, prefix: str) -> Iterator[Layer]:
        yield Layer(f"{prefix}.conv", self.conv, None if self.deploy else f"{prefix}.bn0")
        yield Layer(f"{prefix}.fc1", self.fc1, None if self.deploy else f"{prefix}.bn1")
        yield Layer(f"{prefix}.fc2", self.fc2, None)


@dataclass(frozen=True)
class BlockSpec:
    """One residual block: 1x1 convolution, split attention, 1x1 convolution, shortcut.

    `pool_before` and `pool_after` stand around the split attention ("average pooling instead
    of a strided convolution"); `projection` is the shortcut's convolution and
    `projection_pool` the pooling before it. Each is None where the block has none. `depth` is the block's
    place in the network, from 0, the first, to 1, the last.
    """

    stage: int
    index: int
    in_channels: int
    out_channels: int
    stride: int
    attention: SplitAttentionSpec
    pool_before: PoolSpec | None = None
    pool_after: PoolSpec | None = None
    projection: ConvSpec | None = None
    projection_pool: PoolSpec | None = None
    depth: float = 0.0

    @property
    def name(self) -> str:
        return f"layer{self.stage}.{self.index}"

    @property
    def group_width(self) -> int:
        """Channels of the split attention's input and output."""
        return self.attention.channels

    @property
    def attention_channels(self) -> int:
        return self.attention.attention_channels

    @property
    def dilation(self) -> int:
        return self.attention.dilation

    @property
    def deploy(self) -> bool:
        """Whether batch norms are folded into the convolutions before them."""
        return self.attention.deploy

    @property
    def activation(self) -> str:
        return self.attention.activation

    def drop_path(self, prob: float) -> float:
        """With what probability this block is left out in training, where the last one is with `prob`.

        It grows evenly from the first block, which always stays (stochastic depth, arXiv 1603.09382).
        """
        return prob * self.depth

    @property
    def dropblock(self) -> bool:
        """Whether DropBlock, where it is asked for, works in this block."""
        return self.stage in DROPBLOCK_STAGES

    @property
    def conv1(self) -> ConvSpec:
        return ConvSpec(self.in_channels, self.group_width, bias=self.deploy)

    @property
    def conv3(self) -> ConvSpec:
        return ConvSpec(self.group_width, self.out_channels, bias=self.deploy)

    def layers(self) -> Iterator[Layer]:
        """The block's convolutions in checkpoint order; the shortcut's comes last."""
        yield Layer(f"{self.name}.conv1", self.conv1, None if self.deploy else f"{self.name}.bn1")
        yield from self.attention.layers(f"{self.name}.conv2")
        yield Layer(f"{self.name}.conv3", self.conv3, None if self.deploy else f"{self.name}.bn3")
        if self.projection is not None:
            first = 0 if self.projection_pool is None else 1
            norm = None if self.deploy else f"{self.name}.downsample.{first + 1}"
            yield Layer(f"{self.name}.downsample.{first}", self.projection, norm)


def check_positive(what: str, value: Any, otherwise: str = "") -> None:
    """Raise ValueError, naming `what` and what it may be `otherwise`, unless `value` is a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what}={value!r} must be a whole number, at least 1{otherwise}")


def check_norms(eps: Any, momentum: Any) -> None:
    """Raise ValueError unless batch norms can work with these numbers."""
    for field, value in (("norm_eps", eps), ("norm_momentum", momentum)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f"{field}={value!r} must be a number from 0 to 1")
