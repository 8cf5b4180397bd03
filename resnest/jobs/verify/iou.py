"""How good are label maps? Intersection over union of each class, from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resnest.data.classes import ignored


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix (true class, predicted class) of pixels says; NaN for a class that never occurs."""

    confusion: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Of each class, the pixels that are both truly and predictedly its over those that are either."""
        both = np.diag(self.confusion).astype(np.float64)
        either = self.confusion.sum(0) + self.confusion.sum(1) - both
        return np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)

    @property
    def accuracy(self) -> np.ndarray:
        """Of each class, the share of its pixels that are predicted so."""
        true = self.confusion.sum(1)
        return np.divide(np.diag(self.confusion), true, out=np.full(len(true), np.nan), where=true > 0)

    @property
    def mean_iou(self) -> float:
        """The mean over the classes that occur; NaN where none does."""
        known = self.iou[~np.isnan(self.iou)]
        return float(known.mean()) if known.size else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """The share of all pixels that are predicted right."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixel counts (true class, predicted class); pixels of no class (`ignored`) count nowhere."""
    known = truth != ignored(num_classes)
    pairs = truth[known].astype(np.int64) * num_classes + predicted[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
