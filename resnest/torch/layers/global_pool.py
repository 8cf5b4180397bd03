"""How the last feature map becomes numbers: (N, C, H, W) -> (N, C) or, of both poolings side by side, (N, 2 C)."""

import torch
from torch import Tensor, nn


class AverageMaxPool(nn.Module):
    """The mean of average and largest, (N, C, 1, 1), or with `both` the two side by side, (N, 2 C, 1, 1)."""

    def __init__(self, both: bool):
        super().__init__()
        self.both = both

    def forward(self, x: Tensor) -> Tensor:
        average, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return torch.cat((average, largest), 1) if self.both else (average + largest) / 2

    def extra_repr(self) -> str:
        return f"both={self.both}"


def global_pool(kind: str) -> nn.Module:
    """The pooling, one of the spec's `GLOBAL_POOLS`; Identity for none."""
    if kind == "avg":
        return nn.AdaptiveAvgPool2d(1)
    if kind == "max":
        return nn.AdaptiveMaxPool2d(1)
    return AverageMaxPool(kind == "catavgmax") if kind else nn.Identity()


def flatten(kind: str) -> nn.Module:
    """What takes the two axes of one pixel away; a map that is not pooled keeps them."""
    return nn.Flatten(1) if kind else nn.Identity()
