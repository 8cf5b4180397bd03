"""How the last feature map becomes numbers: (N, C, H, W) -> (N, C) or, of both poolings side by side, (N, 2 C)."""

from __future__ import annotations

from typing import Any

from resnest.gluon._mxnet import mx
from resnest.gluon.layers.basic import Identity, nn


class AverageMaxPool(mx.gluon.HybridBlock):
    """The mean of average and largest, (N, C, 1, 1), or with `both` the two side by side, (N, 2 C, 1, 1)."""

    def __init__(self, both: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.both = both

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        average, largest = (F.Pooling(x, global_pool=True, pool_type=kind) for kind in ("avg", "max"))
        return F.concat(average, largest, dim=1) if self.both else (average + largest) / 2

    def __repr__(self) -> str:
        return f"AverageMaxPool(both={self.both})"


def global_pool(kind: str) -> Any:
    """The pooling, one of the spec's `GLOBAL_POOLS`; Identity for none."""
    if kind == "avg":
        return nn.GlobalAvgPool2D()
    if kind == "max":
        return nn.GlobalMaxPool2D()
    return AverageMaxPool(kind == "catavgmax") if kind else Identity()


def flatten(kind: str) -> Any:
    """What takes the two axes of one pixel away; a map that is not pooled keeps them."""
    return nn.Flatten() if kind else Identity()
