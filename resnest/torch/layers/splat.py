"""Split attention: feature-map attention over the radix splits of each cardinal group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnest.specs.blocks import SplitAttentionSpec
from resnest.torch.layers.basic import BatchNorm, NormLayer, activation, check_batch, conv2d, norm_after
from resnest.torch.layers.dropblock import DropBlock


class SplitAttention(nn.Module):
    """The 3x3 layer of a ResNeSt block (paper, section 3.1 and figure 2).

    Takes (N, C, H, W), computes R splits of C channels each, and gives their weighted sum,
    (N, C, H', W'). Raises ValueError in training where a batch norm would see one value.
    """

    def __init__(
        self,
        splat: SplitAttentionSpec,
        norm_layer: NormLayer = BatchNorm,
        dropblock_prob: float = 0.0,
        dropblock_mask: str = "sample",
    ):
        super().__init__()
        self.radix = splat.radix
        self.cardinality = splat.cardinality
        norm_layer = norm_after(splat.deploy, norm_layer)
        self.conv = conv2d(splat.conv)
        self.bn0 = norm_layer(splat.conv.out_channels)
        self.dropblock = DropBlock(dropblock_prob, mask=dropblock_mask) if dropblock_prob else nn.Identity()
        self.relu0 = activation(splat.activation)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc1 = conv2d(splat.fc1)
        self.bn1 = norm_layer(splat.fc1.out_channels)
        self.relu1 = activation(splat.activation)
        self.fc2 = conv2d(splat.fc2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu0(self.dropblock(self.bn0(self.conv(x))))  # (N, R * C, H, W)
        # The mean of a sum is the sum of the means: pool first, then add a few numbers.
        gap = self.gap(x).unflatten(1, (self.radix, -1)).sum(dim=1)  # (N, C, 1, 1)
        if not torch.jit.is_scripting():  # TorchScript leaves it to batch norm's own error, as does a traced graph
            check_batch(gap, self.bn1)
        attention = self.fc2(self.relu1(self.bn1(self.fc1(gap))))
        return weighted_sum(x, attention, self.radix, self.cardinality)


def weighted_sum(x: Tensor, attention: Tensor, radix: int, cardinality: int) -> Tensor:
    """The splits of x, (N, R * C, H, W), weighted by `attention`, (N, K * R * C / K, 1, 1), and added up: (N, C, H, W).

    The weights are the softmax of `attention` over the splits, or its sigmoid where R is 1.
    """
    splits = x.chunk(radix, dim=1)
    scores = attention.unflatten(1, (cardinality, radix, -1)).transpose(1, 2).flatten(2, 3)  # (N, R, C, 1, 1)
    if radix == 1:
        return splits[0] * scores[:, 0].sigmoid().to(x.dtype)
    if radix == 2:  # a sigmoid of the difference, and weights that add up to 1: one pass over the splits
        return torch.lerp(splits[1], splits[0], (scores[:, 0] - scores[:, 1]).sigmoid().to(x.dtype))
    weights = scores.softmax(dim=1).to(x.dtype)  # which autocast computes in float32 on a GPU
    out = splits[0] * weights[:, 0]
    for r in range(1, radix):
        out = out.addcmul_(splits[r], weights[:, r])  # its result is kept, or a traced graph drops the line as dead
    return out
