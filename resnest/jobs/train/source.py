"""What a training draws its batches from, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from resnest.backends.training import Batch, smoothed
from resnest.specs.recipe import Recipe


class Source(Protocol):
    """Images with labels, for training and for evaluation.

    A batch depends on the seed, the epoch and the numbers of its images alone, so that a training which is
    resumed, or shared between processes, sees the same.
    """

    classes: int
    training: int
    """How many images there are to train on."""
    evaluation: int
    """How many there are to evaluate on; 0 for none."""

    def order(self, epoch: int) -> np.ndarray:
        """The numbers of the training images, shuffled for `epoch`."""

    def batches(self, epoch: int, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        """For each of the `parts`, numbers of training images, those images, augmented and mixed, and their targets."""

    def evaluated(self, parts: Sequence[np.ndarray]) -> Iterator[tuple[Any, np.ndarray]]:
        """For each of the `parts`, numbers of evaluation images, those images (N, C, H, W) and their labels (N,)."""


class Arrays:
    """Images (N, C, H, W) that are in memory, with labels (N,); neither augmented nor mixed."""

    def __init__(
        self,
        training: tuple[np.ndarray, np.ndarray],
        evaluation: tuple[np.ndarray, np.ndarray],
        classes: int,
        recipe: Recipe,
        seed: int = 0,
    ):
        self.arrays = training
        self.held_out = evaluation
        self.classes = classes
        self.training, self.evaluation = len(training[1]), len(evaluation[1])
        self.recipe = recipe
        self.seed = seed

    def order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.training)

    def batches(self, epoch: int, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        images, labels = self.arrays
        for part in parts:
            yield images[part], smoothed(labels[part], self.classes, self.recipe.label_smoothing, images.dtype)

    def evaluated(self, parts: Sequence[np.ndarray]) -> Iterator[tuple[Any, np.ndarray]]:
        images, labels = self.held_out
        for part in parts:
            yield images[part], labels[part]
