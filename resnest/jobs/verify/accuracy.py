"""Top-1 and top-5 accuracy of a classifier."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Accuracy:
    """How many of `images` have their label as the first guess (`first`), and among the first five (`five`).

    `broken` of them have logits that are no finite numbers: they are in neither.
    """

    images: int = 0
    first: int = 0
    five: int = 0
    broken: int = 0

    @property
    def top1(self) -> float:
        """In percent; not a number without an image."""
        return 100 * self.first / self.images if self.images else float("nan")

    @property
    def top5(self) -> float:
        """In percent; not a number without an image."""
        return 100 * self.five / self.images if self.images else float("nan")

    def __add__(self, other: Accuracy) -> Accuracy:
        return Accuracy(*map(sum, zip(astuple(self), astuple(other))))


NO_GUESS = -1
"""The class that is guessed where not every logit is a finite number."""


def guesses(logits: np.ndarray) -> np.ndarray:
    """The first five classes of each image, (N, 5), or all where there are fewer; equal ones in order."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    return np.where(np.isfinite(logits).all(axis=1, keepdims=True), order, NO_GUESS)


def accuracy(guessed: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Of `guesses` (N, 5) and labels (N,), from 0."""
    right = guessed == labels[:, None]
    no_guess = guessed[:, 0] == NO_GUESS
    return Accuracy(len(labels), int(right[:, 0].sum()), int(right.sum()), int(no_guess.sum()))
