"""The loss of training."""

from __future__ import annotations

from typing import Any

from resnest.gluon._mxnet import mx


def cross_entropy(logits: Any, targets: Any) -> Any:
    """Mean over the batch of -sum(targets * log softmax(logits)), both (N, classes).

    Smoothed labels and mixed images are targets with several classes in a row.
    """
    return -(targets * mx.nd.log_softmax(logits, axis=1)).sum() / len(logits)
