"""Stochastic depth (arXiv 1603.09382): whole blocks are left out in training, each image for itself."""

from __future__ import annotations

from typing import Any

from resnest.gluon._mxnet import mx
from resnest.specs.schedule import check_probability


class DropPath(mx.gluon.HybridBlock):
    """Zero each image's (N, C, H, W) with probability `prob` in training and scale what is kept; else the identity."""

    def __init__(self, prob: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.prob = check_probability(prob)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        # Dropout over axes is one draw for all that they span, and knows whether this is training.
        return F.Dropout(x, p=self.prob, axes=(1, 2, 3))

    def __repr__(self) -> str:
        return f"DropPath(prob={self.prob:g})"
