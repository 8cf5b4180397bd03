"""Split attention: feature-map attention over the radix splits of each cardinal group."""

from __future__ import annotations

from typing import Any

from resnest.gluon._mxnet import mx
from resnest.gluon.layers.basic import BatchNorm, Identity, NormLayer, activation, check_batch, conv2d, nn, norm_after
from resnest.gluon.layers.dropblock import DropBlock
from resnest.specs.blocks import SplitAttentionSpec


class SplitAttention(mx.gluon.HybridBlock):
    """The 3x3 layer of a ResNeSt block (paper, section 3.1 and figure 2).

    Takes (N, C, H, W), computes R splits of C channels each, and gives their weighted sum,
    (N, C, H', W'). Raises ValueError in training where a batch norm would see one value.
    `split_drop_ratio` is the dropout between `fc1` and `fc2`.
    """

    def __init__(
        self,
        splat: SplitAttentionSpec,
        norm_layer: NormLayer = BatchNorm,
        dropblock_prob: float = 0.0,
        split_drop_ratio: float = 0.0,
        dropblock_mask: str = "sample",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.radix = splat.radix
        self.cardinality = splat.cardinality
        self.channels = splat.channels
        norm_layer = norm_after(splat.deploy, norm_layer)
        with self.name_scope():
            self.conv = conv2d(splat.conv)
            self.bn = norm_layer(in_channels=splat.conv.out_channels)  # `bn0` in PyTorch's checkpoints
            self.dropblock = DropBlock(dropblock_prob, mask=dropblock_mask) if dropblock_prob else Identity()
            self.relu0 = activation(splat.activation)
            self.gap = nn.GlobalAvgPool2D()
            self.fc1 = conv2d(splat.fc1)
            self.bn1 = norm_layer(in_channels=splat.fc1.out_channels)
            self.relu1 = activation(splat.activation)
            self.drop = nn.Dropout(split_drop_ratio) if split_drop_ratio else Identity()
            self.fc2 = conv2d(splat.fc2)

    def forward(self, x: Any, *args: Any) -> Any:
        check_batch(x, self.bn1)
        return super().forward(x, *args)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.relu0(self.dropblock(self.bn(self.conv(x))))  # (N, R * C, H, W)
        # The mean of a sum is the sum of the means: pool first, then add a few numbers.
        gap = F.sum(F.reshape(self.gap(x), (0, self.radix, -1, 1, 1)), axis=1)  # (N, C, 1, 1)
        attention = self.fc2(self.drop(self.relu1(self.bn1(self.fc1(gap)))))
        return weighted_sum(F, x, attention, self.radix, self.cardinality, self.channels)


def weighted_sum(F: Any, x: Any, attention: Any, radix: int, cardinality: int, channels: int) -> Any:
    """The splits of x, (N, R * C, H, W), weighted by `attention`, (N, K * R * C / K, 1, 1), and added up: (N, C, H, W).

    The weights are the softmax of `attention` over the splits, or its sigmoid where R is 1.
    """
    splits = chunk(F, x, radix, channels)
    scores = F.swapaxes(F.reshape(attention, (0, cardinality, radix, -1)), 1, 2)  # (N, R, K, C / K)
    if radix == 1:
        return F.broadcast_mul(splits[0], F.sigmoid(F.reshape(scores, (0, -1, 1, 1))))
    if radix == 2:  # a sigmoid of the difference, and weights that add up to 1: one multiplication instead of two
        first, second = chunk(F, F.reshape(scores, (0, -1, 1, 1)), radix, channels)
        return splits[1] + F.broadcast_mul(splits[0] - splits[1], F.sigmoid(first - second))
    weights = chunk(F, F.reshape(F.softmax(scores, axis=1), (0, -1, 1, 1)), radix, channels)
    out = F.broadcast_mul(splits[0], weights[0])
    for r in range(1, radix):
        out = out + F.broadcast_mul(splits[r], weights[r])
    return out


def chunk(F: Any, x: Any, radix: int, channels: int) -> list[Any]:
    """The splits of x, (N, R * C, ...): R times (N, C, ...)."""
    return [F.slice_axis(x, axis=1, begin=r * channels, end=(r + 1) * channels) for r in range(radix)]
